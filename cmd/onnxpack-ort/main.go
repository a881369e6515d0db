// Onnxpack-ort runs models with ONNX Runtime on behalf of onnxpack, which
// starts it and talks to it over standard input and output (package wire). It
// loads the shared library named by its last argument, without cgo. With -hold
// PROFILE the library sees a CPU of that profile, which has fewer instructions.
//
// It is a program of its own so that onnxpack stays one static file, survives
// a crash in the library, and can tell how much memory ONNX Runtime takes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

func main() {
	profile := flag.String("hold", "", "show the library a CPU of this profile")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: onnxpack-ort [-hold PROFILE] LIBRARY (started by onnxpack)") }
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	work := serve
	if *profile != "" {
		work = func(library string) error { return hold(*profile, library) }
	}
	if err := work(flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "onnxpack-ort:", err)
		os.Exit(1)
	}
}

func serve(library string) error {
	rt, err := open(library)
	if err != nil {
		return err
	}
	s := &server{rt: rt, sessions: map[int]*session{}}
	conn := wire.NewConn(os.Stdin, os.Stdout)
	return conn.Serve(s.answer, func(resp *wire.Response) { resp.Version, resp.Peak = rt.version, peakResident() })
}

// server holds the open sessions.
type server struct {
	rt       *runtime
	sessions map[int]*session
	next     int
}

func (s *server) answer(req *wire.Request) (*wire.Response, error) {
	switch {
	case req.Load != nil:
		return s.load(req.Load)
	case req.Run != nil:
		return s.run(req.Run)
	case req.Close != nil:
		if se := s.sessions[req.Close.Session]; se != nil {
			se.close()
			delete(s.sessions, req.Close.Session)
		}
		return &wire.Response{}, nil
	}
	return nil, errors.New("an empty request")
}

func (s *server) load(l *wire.Load) (*wire.Response, error) {
	start := time.Now()
	se, err := s.rt.load(l)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	s.next++
	s.sessions[s.next] = se
	return &wire.Response{Session: s.next, Inputs: se.inputs, Outputs: se.outputs, Nanos: []int64{took.Nanoseconds()}}, nil
}

func (s *server) run(r *wire.Run) (*wire.Response, error) {
	se := s.sessions[r.Session]
	if se == nil {
		return nil, fmt.Errorf("no session %d", r.Session)
	}
	call, err := se.prepare(r)
	if err != nil {
		return nil, err
	}
	defer call.close()
	if r.Rounds == 0 {
		values, err := call.values()
		return &wire.Response{Values: values}, err
	}
	resp := &wire.Response{}
	for range r.Rounds {
		start := time.Now()
		if err := call.run(); err != nil {
			return nil, err
		}
		resp.Nanos = append(resp.Nanos, time.Since(start).Nanoseconds())
		call.release()
	}
	rest()
	return resp, nil
}

// rest waits, half a second at most, until the threads of the library have
// stopped to spin: for some ten milliseconds after a run they take the
// processors from whatever is measured next.
func rest() {
	const look, idle = 4 * time.Millisecond, 400 * time.Microsecond
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		before := processorTime()
		time.Sleep(look)
		if processorTime()-before < idle {
			return
		}
	}
}
