// Command onnxpack makes exported ONNX models small and fast for the CPUs
// that they ship to, and measures what it did.
//
// It is on the top floor: it opens files, reads flags, prints tables, and
// leaves everything else to the packages below. Each verb has a file here.
//
// Exit codes: 0 done; 1 a check or gate said no; 2 wrong use, unreadable
// input, or an interruption.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program but for the process: it parses args, runs the verb
// and returns the exit code. Errors go to stderr, one line, perhaps with a
// hint line after it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(stderr, "onnxpack: internal error: %v\n%s", r, debug.Stack())
			code = exitUse
		}
	}()
	app := newApp(stdout, stderr)
	args = permute(app, args)
	err := app.RunContext(ctx, args)
	if err == nil {
		return exitDone
	}
	var no *gateError
	switch {
	case errors.As(err, &no):
		if no.text != "" {
			fmt.Fprintf(stderr, "onnxpack: %s\n", no.text)
		}
		return exitNo
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "onnxpack: interrupted; nothing was written")
		return exitUse
	}
	fmt.Fprintf(stderr, "onnxpack: %v\n", err)
	if h := hint(app, args, err); h != "" {
		fmt.Fprintf(stderr, "hint: %s\n", h)
	}
	return exitUse
}

const (
	exitDone = 0
	exitNo   = 1
	exitUse  = 2
)

// gateError is the answer "no" of a check or gate, with what is to be said
// beyond the report, if anything.
type gateError struct{ text string }

func (e *gateError) Error() string { return e.text }
