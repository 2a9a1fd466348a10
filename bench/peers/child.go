package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// child is a peer's service in a process of its own. It ends with this process, however that ends: its standard input does.
type child struct {
	*process
	at    string
	ask   *os.File // its standard input
	reads *os.File // its standard output
	lines *bufio.Reader
}

// startChild starts this program again as the peer's service, with its files and its log in dir.
func startChild(p peer, dir string) (*child, error) {
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
	cmd := exec.Command(self, "rpc-service", "-peer", p.name(), "-dir", dir)
	cmd.Stdin, cmd.Stdout = in, out
	c := &child{ask: ask, reads: reads, lines: bufio.NewReader(reads)}
	if c.process, err = startProcess(cmd, filepath.Join(dir, "log")); err != nil {
		ask.Close()
		reads.Close()
		return nil, err
	}
	if c.at, err = c.line(); err != nil {
		return nil, errors.Join(fmt.Errorf("the service of %s does not start: %w: %s", p.name(), err, c.said()), c.stop())
	}
	return c, nil
}

// line reads the next line that the child says.
func (c *child) line() (string, error) {
	c.reads.SetReadDeadline(time.Now().Add(30 * time.Second))
	text, err := c.lines.ReadString('\n')
	return strings.TrimSpace(text), err
}

func (c *child) address() string { return c.at }

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

// rpcService is the child: its first line on the standard output is the service's address, and for each line that it is told then
// it says what CPU time it has used, in nanoseconds. It ends when its standard input does, or ctx.
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := found[0].start(ctx, *dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	fmt.Println(s.address())
	go func() {
		for told := bufio.NewScanner(os.Stdin); told.Scan(); {
			fmt.Println(ownCPU().Nanoseconds())
		}
		cancel()
	}()
	<-ctx.Done()
	return nil
}
