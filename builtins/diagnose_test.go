package builtins

import (
	"errors"
	"syscall"
	"testing"

	"sst/builtins/jsii"
)

// A full disk is no objection of the CDK, and no line of stacks.star is to blame for it.
func TestDiskFullInTheHost(t *testing.T) {
	err := (&session{}).diagnose(&jsii.Error{Message: "ENOSPC: no space left on device, write", Tag: 3})
	if !errors.Is(err, syscall.ENOSPC) || isDiagnostic(err) {
		t.Errorf("diagnose gave %#v, want an error that is syscall.ENOSPC", err)
	}
}
