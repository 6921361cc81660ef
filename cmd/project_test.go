package cmd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// Ctrl-C at the question for the stage ends it, though nothing is typed.
func TestAskStageInterrupted(t *testing.T) {
	silent, typist := io.Pipe()
	defer typist.Close()
	ctx, interrupt := context.WithCancelCause(context.Background())
	asked := &tool{World: &World{Stdin: silent, Stderr: askedWriter(func() { interrupt(errors.New("Ctrl-C")) })}}
	if stage, err := asked.askStage(ctx, "ann"); err == nil || err.Error() != "Ctrl-C" {
		t.Errorf("askStage = %q, %v, want the interruption", stage, err)
	}
}

// askedWriter calls a function when the question is written.
type askedWriter func()

func (w askedWriter) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

func TestAskStage(t *testing.T) {
	for _, test := range []struct{ typed, want, says string }{
		{"\n", "ann", ""},
		{"  bob \n", "bob", ""},
		{"1x\nbob\n", "bob", `"1x" is not a stage name`},
		{"", "", ""},
	} {
		var said bytes.Buffer
		asked := &tool{World: &World{Stdin: strings.NewReader(test.typed), Stderr: &said}}
		asked.view = newHumanView(io.Discard, &said, viewOptions{})
		got, err := asked.askStage(t.Context(), "ann")
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("typed %q: got %q, %v, want %q", test.typed, got, err, test.want)
		}
		if !strings.Contains(said.String(), test.says) {
			t.Errorf("typed %q: said %q, want %q in it", test.typed, &said, test.says)
		}
	}
}
