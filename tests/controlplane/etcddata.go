package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	memory = "/dev/shm"
	// enoughMemory is what must be free there: a benchmark of some thousand apps
	// fills 1 GB, and several test binaries may run at once. Containers often
	// have 64 MB, and get the directory of the test instead.
	enoughMemory = 4 << 30
	dataPrefix   = "lockstep-controlplane-"
)

// etcdData finds a place for etcd's data, in memory if there is room. release
// removes it. A run that was killed by SIGKILL cannot; the lock beside its data
// is free then, and the next run clears up after it.
func etcdData(dir string) (path string, release func(), err error) {
	var stat syscall.Statfs_t
	if syscall.Statfs(memory, &stat) != nil || stat.Bavail*uint64(stat.Bsize) < enoughMemory {
		path = filepath.Join(dir, "etcd")
		return path, func() { os.RemoveAll(path) }, os.RemoveAll(path)
	}
	removeAbandoned()
	path = filepath.Join(memory, dataPrefix+strings.ToLower(rand.Text()))
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return "", nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return "", nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return path, func() {
		os.RemoveAll(path)
		os.Remove(lock.Name())
		lock.Close()
	}, nil
}

func removeAbandoned() {
	locks, _ := filepath.Glob(filepath.Join(memory, dataPrefix+"*.lock"))
	for _, name := range locks {
		// A lock file is made and locked in two steps; leave others the time.
		if stat, err := os.Stat(name); err != nil || time.Since(stat.ModTime()) < 10*time.Second {
			continue
		}
		lock, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			os.RemoveAll(strings.TrimSuffix(name, ".lock"))
			os.Remove(name)
		}
		lock.Close()
	}
}
