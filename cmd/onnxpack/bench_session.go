package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/onnxpack/onnxpack/benchmark"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/onnxio"
	"github.com/onnxpack/onnxpack/targets"
	"github.com/onnxpack/onnxpack/targets/engine"
	"github.com/onnxpack/onnxpack/targets/ort"
	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

// measureSessions shows what sessions of a model cost on a target.
func measureSessions(c *cli.Context, paths, engines []string, threads []int, target targets.Target) error {
	f, sample, err := benchOne(c, paths, "--session")
	if err != nil {
		return err
	}
	defer f.Close()
	var servers []benchmark.Server
	for _, name := range engines {
		s, err := engineServer(c, name, target)
		if err != nil {
			return err
		}
		servers = append(servers, s)
	}
	all := &benchmark.SessionReport{Host: benchmark.ThisHost()}
	for _, n := range threads {
		r, err := benchmark.MeasureSessions(c.Context, paths[0], servers, n, sample.Feeds, c.Int("rounds"))
		if err != nil {
			return err
		}
		all.Rows = append(all.Rows, r.Rows...)
	}
	return emit(c, all, func(w io.Writer) { writeSessions(w, all) })
}

// engineServer returns what starts a process of an engine on a target: this
// program again, or the helper with ONNX Runtime.
func engineServer(c *cli.Context, name string, target targets.Target) (benchmark.Server, error) {
	s := benchmark.Server{Engine: name}
	if name == benchmark.EngineORT {
		install, err := findORT(c.Context, target)
		if err != nil {
			return s, err
		}
		s.Start = func(ctx context.Context) (*ort.Process, error) { return ort.Start(ctx, install) }
		return s, nil
	}
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	args := []string{serverName}
	for _, flag := range []string{"target", "max-memory"} {
		if c.IsSet(flag) {
			args = append(args, "--"+flag, c.String(flag))
		}
	}
	s.Start = func(ctx context.Context) (*ort.Process, error) {
		return ort.StartCommand(ctx, exec.Command(self, args...))
	}
	return s, nil
}

func writeSessions(w io.Writer, r *benchmark.SessionReport) {
	fmt.Fprintf(w, "%s, %d cores, %s/%s\n\n", r.Host.CPU, r.Host.Cores, r.Host.OS, r.Host.Arch)
	tab := newTable(w, "model", "engine", "threads", "load to first result", "peak memory", "rounds")
	rightAlign(tab, 6)
	for _, row := range r.Rows {
		tab.AppendRow([]any{row.Model, row.Engine, row.Threads, nsText(row.Creation), bytesText(row.Peak), row.Rounds})
	}
	tab.Render()
	for _, row := range r.Rows {
		if row.Faster > 0 {
			fmt.Fprintf(w, "\n%s, %d threads: %s is ready %.2f times as fast as %s, with %.2f of its memory",
				row.Model, row.Threads, r.Rows[0].Engine, row.Faster, row.Engine, row.Smaller)
		}
	}
	fmt.Fprintln(w)
}

// serverName is the verb that the program starts itself with.
const serverName = "serve-sessions"

// serverCommand loads and runs models for a parent that speaks as to the helper
// with ONNX Runtime, so that both engines are measured alike.
func serverCommand() *cli.Command {
	return &cli.Command{
		Name: serverName, Usage: "load and run models for bench --session", Category: catMeasure, Hidden: true,
		Flags: []cli.Flag{targetFlagDef(), maxMemoryFlagDef()},
		Action: func(c *cli.Context) error {
			o, err := targetOptions(c)
			if err != nil {
				return err
			}
			conn := wire.NewConn(os.Stdin, c.App.Writer)
			s := &sessionServer{options: o}
			return conn.Serve(
				func(req *wire.Request) (*wire.Response, error) { return s.answer(c.Context, req) },
				func(resp *wire.Response) { resp.Peak = wire.PeakResident() })
		},
	}
}

// sessionServer holds the sessions of a server, by number from 1.
type sessionServer struct {
	options  engine.Options
	sessions []*engine.Session
}

func (s *sessionServer) answer(ctx context.Context, req *wire.Request) (*wire.Response, error) {
	switch {
	case req.Load != nil:
		return s.load(ctx, req.Load)
	case req.Run != nil:
		return s.run(ctx, req.Run)
	}
	return nil, errors.New("the request is neither to load nor to run a model")
}

func (s *sessionServer) load(ctx context.Context, l *wire.Load) (*wire.Response, error) {
	start := time.Now()
	f, err := onnxio.Open(l.Path, onnxio.OpenOptions{})
	if err != nil {
		return nil, err
	}
	o := s.options
	o.Threads = l.Threads
	session, err := engine.Compile(ctx, f.Model, o)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	s.sessions = append(s.sessions, session)
	return &wire.Response{Session: len(s.sessions), Nanos: []int64{took.Nanoseconds()}}, nil
}

// run times the rounds asked for, one at least.
func (s *sessionServer) run(ctx context.Context, r *wire.Run) (*wire.Response, error) {
	if r.Session < 1 || r.Session > len(s.sessions) {
		return nil, fmt.Errorf("no session %d", r.Session)
	}
	feeds := map[string]tensor.Value{}
	for name, w := range r.Feeds {
		v, err := w.Value()
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", name, err)
		}
		feeds[name] = v
	}
	resp := &wire.Response{}
	for range max(r.Rounds, 1) {
		start := time.Now()
		if _, err := s.sessions[r.Session-1].Run(ctx, feeds); err != nil {
			return nil, err
		}
		resp.Nanos = append(resp.Nanos, time.Since(start).Nanoseconds())
	}
	return resp, nil
}
