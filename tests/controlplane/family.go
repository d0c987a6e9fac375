package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// family is the children of run.
type family struct {
	dir      string
	children []*child
	ended    chan *child
}

type child struct {
	name    string
	command *exec.Cmd
	waited  chan struct{}
}

// killOrder ends those that ask before those that answer. It is SIGKILL
// throughout: a graceful stop waits for open watches, and the data is thrown
// away.
var killOrder = []string{"pods", "git", "controllers", "apiserver", "etcd"}

// start starts this binary as a child, with standard output in DIR/NAME.out
// and standard error in DIR/NAME.log. It must run on the main thread (see main).
func (f *family) start(name string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.Create(f.log(name))
	if err != nil {
		return err
	}
	defer log.Close()
	out := log
	if name == "git" {
		if out, err = os.Create(filepath.Join(f.dir, name+".out")); err != nil {
			return err
		}
		defer out.Close()
	}
	c := &child{name: name, command: exec.Command(self, args...), waited: make(chan struct{})}
	c.command.Stdout, c.command.Stderr = out, log
	c.command.SysProcAttr = &syscall.SysProcAttr{
		// Survives even a SIGKILL of this process: the kernel ends the child.
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C in a terminal goes to us, who end them in order.
		Setpgid: true,
	}
	if err := c.command.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	f.children = append(f.children, c)
	go func() {
		c.command.Wait()
		close(c.waited)
		f.ended <- c
	}()
	return nil
}

func (f *family) log(name string) string { return filepath.Join(f.dir, name+".log") }

// wait waits until done says so, or without done for ever; an error says that
// a child ended, the time is over, or nobody wants us any more.
func (f *family) wait(what string, patience time.Duration, stop <-chan struct{}, done func() bool) error {
	var deadline, look <-chan time.Time
	if done != nil {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		timer := time.NewTimer(patience)
		defer timer.Stop()
		deadline, look = timer.C, ticker.C
	}
	for {
		select {
		case <-stop:
			return errStopped
		case c := <-f.ended:
			return f.obituary(c)
		case <-deadline:
			return fmt.Errorf("waited too long for %s; the logs are in %s", what, f.dir)
		case <-look:
			if done() {
				return nil
			}
		}
	}
}

// obituary names a child that ended by itself, with the end of its log.
func (f *family) obituary(c *child) error {
	log, _ := os.ReadFile(f.log(c.name))
	if bytes.Contains(log, []byte("address already in use")) {
		return fmt.Errorf("%s: %w", c.name, errPortTaken)
	}
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	const last = 20 // a Go panic's message and first frames, or kube's last errors
	if len(lines) > last {
		lines = lines[len(lines)-last:]
	}
	return fmt.Errorf("%s ended by itself (%s); the end of %s:\n%s",
		c.name, c.command.ProcessState, f.log(c.name), bytes.Join(lines, []byte("\n")))
}

func (f *family) killAll() {
	// Nobody reads ended any more; the waiting goroutines still need a reader.
	go func() {
		for range f.ended {
		}
	}()
	for _, name := range killOrder {
		for _, c := range f.children {
			if c.name == name {
				c.command.Process.Kill()
				<-c.waited
			}
		}
	}
}

func (f *family) pids() map[string]int {
	pids := map[string]int{"run": os.Getpid()}
	for _, c := range f.children {
		pids[c.name] = c.command.Process.Pid
	}
	return pids
}
