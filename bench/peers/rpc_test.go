package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"waybill/bench"
	"waybill/subjects"
)

// Every peer answers rightly and refuses what is wrong, in this process and in one of its own, and does so for all its callers. The
// echoes are left out of the refusal: they look at nothing.
func TestPeers(t *testing.T) {
	const callers = 3
	for _, p := range peers() {
		for _, apart := range []bool{false, true} {
			if apart && withinOne(p) {
				continue
			}
			t.Run(fmt.Sprintf("%s/apart=%t", p.name(), apart), func(t *testing.T) {
				h, err := newHost(p, filepath.Join(t.TempDir(), "d"), apart)
				if err != nil {
					t.Fatal(err)
				}
				defer mustEnd(t, h.close)
				address, end, err := h.reach(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer mustEnd(t, end)
				c, err := p.dial(t.Context(), address, callers)
				if err != nil {
					t.Fatal(err)
				}
				defer mustEnd(t, c.close)
				_, bare := p.(*echo)
				for n := range callers {
					if err := c.call(t.Context(), n, question(n)); err != nil {
						t.Fatal(err)
					}
					if bare {
						continue
					}
					for _, spoil := range []func(*subjects.AuthorizeRequest){
						func(r *subjects.AuthorizeRequest) { r.Amount.Amount = 0 },
						func(r *subjects.AuthorizeRequest) { r.Token = "" },
					} {
						bad := question(n)
						spoil(bad)
						if err := c.call(t.Context(), n, bad); !errors.Is(err, errRefused) {
							t.Errorf("%+v: %v", bad, err)
						}
					}
					if err := c.call(t.Context(), n, question(n)); err != nil {
						t.Fatalf("after a refusal: %v", err)
					}
				}
			})
		}
	}
}

func mustEnd(t *testing.T, end func() error) {
	t.Helper()
	if err := end(); err != nil {
		t.Error(err)
	}
}

// A reply with another payment, status or amount is no answer.
func TestAnswers(t *testing.T) {
	r := question(1)
	for _, wrong := range []func(*subjects.PaymentInfo){
		func(p *subjects.PaymentInfo) { p.PaymentID = question(2).PaymentID },
		func(p *subjects.PaymentInfo) { p.Status = "failed" },
		func(p *subjects.PaymentInfo) { p.Authorized.Amount-- },
	} {
		p := authorized(r)
		if err := answers(r, string(p.PaymentID), string(p.Status), p.Authorized.Amount); err != nil {
			t.Fatal(err)
		}
		wrong(p)
		if answers(r, string(p.PaymentID), string(p.Status), p.Authorized.Amount) == nil {
			t.Errorf("%+v passes for the answer", p)
		}
	}
}

// A run has a row of each peer for each number of processes and callers, with its ratios.
func TestMeasure(t *testing.T) {
	var o rpcOptions
	if err := o.parse([]string{"-only", "tcp-echo,nats-tcp,nats-inprocess,waybill-inprocess,grpc", "-callers", "1,3", "-rounds", "2", "-length", "20ms"}); err != nil {
		t.Fatal(err)
	}
	r := &rpcReport{}
	for _, processes := range o.processes {
		if err := r.measure(t.Context(), t.TempDir(), o, processes); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.Tables) != 4 {
		t.Fatalf("%d tables", len(r.Tables))
	}
	for _, table := range r.Tables {
		peers := 5
		if table.Processes == 2 {
			peers = 3 // two have no service in another process
		}
		if len(table.Rows) != peers {
			t.Errorf("processes: %d, callers: %d: %d rows", table.Processes, table.Callers, len(table.Rows))
		}
		for _, row := range table.Rows {
			if row.Rate.Low <= 0 || row.P50.Low <= 0 || row.CPU.High <= 0 || row.ToGRPC == nil || row.ToEcho == nil || row.RateToGRPC == nil {
				t.Errorf("%+v", row)
			}
			if (row.Allocs != nil) != (table.Processes == 1) || (row.ToNATS == nil) != (table.Processes == 2 && strings.HasSuffix(row.Peer, inProcess)) {
				t.Errorf("%+v", row)
			}
			if (row.Peer == "grpc") != (*row.ToGRPC == spreadOf([]callRound{{}}, func(callRound) float64 { return 1 })) {
				t.Errorf("%s is %+v to gRPC", row.Peer, row.ToGRPC)
			}
		}
	}
}

// An aim is held by a median within its bound, and not spoken of where nothing was measured for it.
func TestAims(t *testing.T) {
	row := func(p50ToNATS, rateToGRPC float64) rpcRow {
		nats, rate := bench.SpreadOf([]float64{p50ToNATS}), bench.SpreadOf([]float64{rateToGRPC})
		return rpcRow{Peer: "waybill-tcp", ToNATS: &nats, RateToGRPC: &rate}
	}
	r := &rpcReport{Tables: []rpcTable{
		{Processes: 2, Callers: 1, Rows: []rpcRow{row(1.0, 9)}},
		{Processes: 2, Callers: 16, Rows: []rpcRow{row(9, 2.49)}},
		{Processes: 2, Callers: 256, Rows: []rpcRow{row(9, 3.1)}},
	}}
	var outcomes []string
	for _, line := range r.aims()[1:] {
		outcomes = append(outcomes, line[5])
	}
	if !slices.Equal(outcomes, []string{"held", "missed", "held"}) {
		t.Errorf("%q", r.aims())
	}
	r.Tables[0].Rows[0] = row(1.01, 9)
	if r.aims()[1][5] != "missed" {
		t.Errorf("%q", r.aims())
	}
}

func TestOptions(t *testing.T) {
	for _, args := range []string{"-only nobody", "-callers 0", "-callers 5000", "-processes 3", "-rounds 0", "-length 0s", "-o xml", "more"} {
		var o rpcOptions
		if o.parse(strings.Fields(args)) == nil {
			t.Errorf("%s is taken", args)
		}
	}
}

// holdChildren starts the service of every peer, says their ids, and waits to be killed.
func holdChildren(dir string) {
	for _, p := range peers() {
		if withinOne(p) {
			continue
		}
		h, err := newHost(p, filepath.Join(dir, p.name()), true)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(h.child.cmd.Process.Pid)
	}
	fmt.Println("all")
	time.Sleep(time.Minute)
}

// A child ends when its parent is killed.
func TestChildrenEndWithTheirParent(t *testing.T) {
	parent := exec.Command(os.Args[0], "hold-children", t.TempDir())
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	lines := bufio.NewScanner(out)
	for lines.Scan() && lines.Text() != "all" {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		if !alive(pid) {
			t.Errorf("%d has ended before its parent", pid)
		}
		pids = append(pids, pid)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed
	if len(pids) < 10 {
		t.Fatalf("%d children", len(pids))
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, pid := range pids {
			if alive(pid) {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d children outlive their parent", left, len(pids))
		}
	}
}

// alive reports whether a process is there and is no zombie, which waits for its new parent.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}
