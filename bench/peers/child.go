package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// child is a service in a process of its own, which is this program started again. It ends with this process, however that ends: its
// standard input does.
type child struct {
	*process
	at    string   // where it listens
	ask   *os.File // its standard input
	reads *os.File // its standard output
	lines *bufio.Reader
}

// startChild starts this program again with these arguments, with its log in the file, and returns once it listens.
func startChild(log string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, ask, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	reads, out, err := os.Pipe()
	if err != nil {
		ask.Close()
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(self, args...)
	cmd.Stdin, cmd.Stdout = in, out
	c := &child{ask: ask, reads: reads, lines: bufio.NewReader(reads)}
	if c.process, err = startProcess(cmd, log); err != nil {
		ask.Close()
		reads.Close()
		return nil, err
	}
	if c.at, err = c.line(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not start: %w: %s", strings.Join(args, " "), err, c.said()), c.stop())
	}
	return c, nil
}

// line reads the next line that the child says.
func (c *child) line() (string, error) {
	c.reads.SetReadDeadline(time.Now().Add(30 * time.Second))
	text, err := c.lines.ReadString('\n')
	return strings.TrimSpace(text), err
}

// cpu is what the child has used so far, user and system, as it says itself.
func (c *child) cpu() (time.Duration, error) {
	if _, err := c.ask.WriteString("cpu\n"); err != nil {
		return 0, err
	}
	text, err := c.line()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, c.said())
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(n), err
}

func (c *child) stop() error {
	c.ask.Close() // with that it ends in good order
	defer c.reads.Close()
	return c.process.stop()
}

// attend is the child's side: it says where it listens, and for each line that it is told then what CPU time it has used, in
// nanoseconds. It returns when its standard input ends, or ctx.
func attend(ctx context.Context, address string) {
	fmt.Println(address)
	orphaned := make(chan struct{})
	go func() {
		for told := bufio.NewScanner(os.Stdin); told.Scan(); {
			fmt.Println(ownCPU().Nanoseconds())
		}
		close(orphaned)
	}()
	select {
	case <-orphaned:
	case <-ctx.Done():
	}
}

// rpcService is a peer's service in a child.
func rpcService(ctx context.Context, args []string) (err error) {
	f := flag.NewFlagSet("rpc-service", flag.ContinueOnError)
	name := f.String("peer", "", "which")
	dir := f.String("dir", "", "for its files")
	if err := f.Parse(args); err != nil {
		return err
	}
	found, err := find(*name)
	if err != nil {
		return err
	}
	s, err := found[0].start(ctx, *dir)
	if err != nil {
		return err
	}
	attend(ctx, s.address())
	return s.stop()
}
