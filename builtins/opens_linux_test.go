package builtins

import (
	"bytes"
	"encoding/binary"
	"syscall"
	"testing"
)

// watchOpens gives the names of what any process has opened in folders since the last call.
func watchOpens(t *testing.T, folders ...string) func() []string {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Skipf("the kernel does not tell what is opened: %v", err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	for _, folder := range folders {
		if _, err := syscall.InotifyAddWatch(fd, folder, syscall.IN_OPEN); err != nil {
			t.Fatal(err)
		}
	}
	return func() (names []string) {
		buffer := make([]byte, 1<<16)
		for {
			n, err := syscall.Read(fd, buffer)
			if err != nil || n <= 0 {
				return names
			}
			for at := 0; at+syscall.SizeofInotifyEvent <= n; {
				length := int(binary.NativeEndian.Uint32(buffer[at+12:]))
				name, _, _ := bytes.Cut(buffer[at+16:at+16+length], []byte{0})
				if len(name) == 0 {
					name = []byte("a folder outside")
				}
				names = append(names, string(name))
				at += 16 + length
			}
		}
	}
}
