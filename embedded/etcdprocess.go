package embedded

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rs/zerolog"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"waybill/internal/fault"
)

// EtcdConfig says how etcd is to run.
type EtcdConfig struct {
	DataDir string // DATA/etcd; made if need be
	Addr    string // host:port of the clients' listener, on loopback; port 0 is any free one
	// Seed is what an etcd that has to begin with nothing should hold. It is asked before each start. An error that passes by itself
	// keeps the start waiting; any other has etcd begin without. May be nil.
	Seed func() ([]Pair, error)
	// Quota is the most that its database may have, in bytes; 0 is what a site needs, many times over. For tests.
	Quota int64
	Log   zerolog.Logger

	plant   string // what the process is to do wrong, for tests
	program string // the file to be run; empty is this program's. For tests
}

// etcdProcess is an etcd of one member in a process of its own, as its parent sees it. Its methods are safe for concurrent use.
type etcdProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser // its life line
	stderr lastWords
	first  chan etcdWord // what it says first: ready or failed
	ended  chan struct{} // closed when the process is gone, and all that it wrote is heard
	exit   string        // how it ended; to be read after ended

	addr        string // once it is ready
	client      *clientv3.Client
	maintenance etcdserverpb.MaintenanceClient // over the client's connection: clientv3's own makes one for each question
	log         zerolog.Logger

	mu      sync.Mutex
	reason  string // what it said of its end, or of its first error
	dying   bool   // reason is of its end
	waits   string // what its start waits for
	trouble error  // why it can't do its work

	space roomy // of attend's goroutine
}

const (
	killWait   = time.Second     // for the end of a process that was killed; one that hangs in a call to the disk takes longer
	stopWait   = 3 * time.Second // for a clean stop; then it is killed, which costs nothing that it had acknowledged
	startWait  = time.Minute     // it may have to read a database of the quota's size from a slow disk
	answerWait = 3 * time.Second
	mostSilent = 5 // questions in a row that may stay without answer; counted, as the machine may have been asleep
)

// startEtcd starts etcd and returns when it can be read and written. Its error is one line that says what to do: a port that is taken,
// a directory that can't be written, data of another program's version. With an error it returns the process only where that was
// killed and has not ended: its end is to be awaited before another is begun. Data that is damaged is set aside. It needs no port for
// peers: it has none. A client's way in is the loopback interface alone, because etcd knows no users here.
func startEtcd(ctx context.Context, c EtcdConfig) (*etcdProcess, error) {
	if err := CheckListener(c.Addr, false, false); err != nil {
		return nil, err
	}
	if err := privateDir(c.DataDir); err != nil { // etcd warns about any other mode
		return nil, err
	}
	if err := writable(c.DataDir); err != nil {
		return nil, err
	}
	if !asked.Load() {
		return nil, fault.New(fault.Internal, "this program does not call embedded.RunAsEtcd first, so it can't start itself as etcd")
	}
	order := etcdOrder{DataDir: c.DataDir, Addr: c.Addr, Quota: c.Quota, Plant: c.plant}
	if c.Seed != nil {
		var err error
		order.Seed, err = c.Seed()
		if passing(err) {
			return nil, fault.Wrap(err, fault.Unavailable, "the last known settings can't be read now (%v)", err)
		} else if err != nil {
			order.NoSeed = err.Error()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	p := &etcdProcess{first: make(chan etcdWord, 1), ended: make(chan struct{}), log: c.Log}
	if err := p.launch(order, c.program); err != nil {
		return nil, launchError(err)
	}
	if err := p.begin(ctx, c); err != nil {
		if !p.kill() {
			return p, err
		}
		return nil, err
	}
	return p, nil
}

// launch starts the process and gives it its order. program is the file to be run; empty is this program's.
func (p *etcdProcess) launch(o etcdOrder, program string) error {
	order, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if program == "" {
		if program, err = ownProgram(); err != nil {
			return err
		}
	}
	p.cmd = exec.Command(program)
	p.cmd.Args = []string{etcdName}
	// Nothing of this process's environment: it may hold secrets, and limits on memory that are meant for one process.
	p.cmd.Env = []string{etcdMark + "=1", "GOTRACEBACK=single"}
	p.cmd.Stdout, p.cmd.Stderr = &hearing{word: p.hear, log: p.log}, &p.stderr
	p.cmd.SysProcAttr = withParent()
	p.cmd.WaitDelay = killWait
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return err
	}
	go func() { // ends with the process at the latest: what it holds may be more than the pipe does
		_, _ = p.stdin.Write(append(order, '\n')) // where it does not listen it is about to end, which begin sees
	}()
	return nil
}

// run starts the process and waits for its end. It keeps a thread of the system's for that: the kernel takes the end of the thread that
// started a process for the end of its parent.
func (p *etcdProcess) run(started chan<- error) {
	defer close(p.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	_ = p.cmd.Wait() // the state says more
	p.exit = p.cmd.ProcessState.String()
}

// begin waits until the process has said how its start went.
func (p *etcdProcess) begin(ctx context.Context, c EtcdConfig) error {
	var word etcdWord
	select {
	case word = <-p.first:
	case <-p.ended:
		select {
		case word = <-p.first:
		default:
			return p.endedEarly(c)
		}
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd was not ready in time (%s)", p.complaint())
	}
	if word.Word == wordFailed {
		var cause error
		if word.Lasting {
			cause = errLasting
		}
		return fault.Wrap(cause, word.Code, "%s", word.Reason)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + word.Addr}, DialTimeout: answerWait, Logger: zap.NewNop()})
	if err != nil {
		return fault.Wrap(err, fault.Internal, "etcd can't be asked at %s", word.Addr)
	}
	p.addr, p.client = word.Addr, client
	p.maintenance = etcdserverpb.NewMaintenanceClient(client.ActiveConnection())
	return nil
}

// endedEarly is why the process has ended before it was ready. What etcd calls fatal is of its data, unless it names what may pass; a
// process that was killed, or whose runtime gave up, says nothing of them.
func (p *etcdProcess) endedEarly(c EtcdConfig) error {
	why := p.why()
	p.mu.Lock()
	dying := p.dying
	p.mu.Unlock()
	if dying && !namesPassing(why) {
		return startError(etcdOrder{DataDir: c.DataDir, Addr: c.Addr}, errEtcdStopped, why)
	}
	return fault.New(fault.Unavailable, "etcd's process ended before it was ready (%s): check the disk, and the limits on memory and open files", why)
}

// hear takes note of what the process says.
func (p *etcdProcess) hear(w etcdWord) {
	switch w.Word {
	case wordReady, wordFailed:
		select {
		case p.first <- w:
		default: // it failed after it was ready
		}
	}
	last := w.Word == wordFailed || w.Word == wordFatal
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.Word == wordWaits {
		p.waits = w.Reason
		return
	}
	if w.Reason != "" && !p.dying && (last || p.reason == "") { // the first reason counts
		p.reason, p.dying = short(w.Reason), last
	}
}

// complaint is the first error that etcd wrote, or what its start waits for.
func (p *etcdProcess) complaint() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cmp.Or(p.reason, p.waits, "it gave no reason")
}

// why is why the process has ended. It is to be called after ended.
func (p *etcdProcess) why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dying {
		return p.reason
	}
	if text := p.stderr.crash(); text != "" {
		return text
	}
	return "its process ended: " + p.exit
}

// healthy returns why etcd can't do its work, or nil.
func (p *etcdProcess) healthy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trouble
}

func (p *etcdProcess) setTrouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trouble = err
}

// kill ends the process for good. It returns when the process is gone, or false after 1 s: then it hangs in a call to the disk, and
// ends with that.
func (p *etcdProcess) kill() bool {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	if p.client != nil {
		p.client.Close()
	}
	return p.gone(killWait)
}

func (p *etcdProcess) gone(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.ended:
		return true
	case <-timer.C:
		return false
	}
}

// stop ends the process in order, and by force where that takes longer than 3 s or ctx lasts. Error: deadline_exceeded where it could
// not be ended: then it hangs in a call to the disk.
func (p *etcdProcess) stop(ctx context.Context) error {
	p.client.Close()
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	if _, err := io.WriteString(p.stdin, wordStop); err == nil {
		select {
		case <-p.ended:
			return nil
		case <-ctx.Done():
		}
	}
	if !p.kill() {
		return fault.Wrap(ctx.Err(), fault.DeadlineExceeded, "etcd's process could not be ended: does the disk hang?")
	}
	return nil
}

// attend asks etcd every two seconds how it is, and makes room in it, until ctx ends or the process does. It returns why the process
// has to be ended, or nothing.
func (p *etcdProcess) attend(ctx context.Context) (reason string) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for silent := 0; silent < mostSilent; {
		select {
		case <-tick.C:
		case <-p.ended:
			return ""
		case <-ctx.Done():
			return ""
		}
		status, err := p.ask(ctx)
		if err == nil {
			silent = 0
			p.setTrouble(p.tendSpace(ctx, status))
			continue
		}
		silent++
		p.setTrouble(fault.Wrap(err, fault.Unavailable, "etcd does not answer"))
	}
	return fmt.Sprintf("it left %d questions unanswered", mostSilent)
}

// ask asks etcd how it is, for 3 s at most. The read of a key, which need not be there, is the question: it is answered only where the
// log takes what is written and all that stands in it was applied, also where etcd is out of space, and it writes nothing. The status
// is state alone, of which an etcd that stands still tells as well.
func (p *etcdProcess) ask(ctx context.Context) (*etcdserverpb.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	if _, err := p.client.Get(ctx, "health", clientv3.WithCountOnly()); err != nil {
		return nil, err
	}
	return p.maintenance.Status(ctx, &etcdserverpb.StatusRequest{})
}
