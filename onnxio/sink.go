package onnxio

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
)

// chunk is how many bytes are copied between two looks at the context.
const chunk = 32 << 20

// fileSpan is from how many bytes on mapped bytes are copied from their file,
// so that they do not become resident.
const fileSpan = 64 << 10

// sink writes parts of messages, which may lie in mapped files.
type sink struct {
	ctx  context.Context
	file *os.File // set if what is written goes to a file only
	w    *bufio.Writer
}

// newSink returns a sink that writes to w. Where w is a file, the operating
// system copies from file to file.
func newSink(ctx context.Context, w io.Writer) *sink {
	f, _ := w.(*os.File)
	return &sink{ctx: ctx, file: f, w: bufio.NewWriterSize(w, 1<<18)}
}

func (s *sink) parts(parts [][]byte) error {
	for _, b := range parts {
		if err := s.part(b); err != nil {
			return err
		}
	}
	return s.w.Flush()
}

func (s *sink) part(b []byte) error {
	for len(b) > 0 {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		n := min(len(b), chunk)
		if err := s.chunk(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (s *sink) chunk(b []byte) error {
	if len(b) >= fileSpan {
		if m, off := findMapping(b); m != nil && m.file != nil {
			return s.copyFrom(m, off, int64(len(b)))
		}
	}
	_, err := s.w.Write(b)
	return err
}

func (s *sink) copyFrom(m *mapping, off, n int64) error {
	if s.file == nil {
		return exactly(n)(io.Copy(s.w, m.reader(off, n)))
	}
	if err := s.w.Flush(); err != nil {
		return err
	}
	m.seek.Lock()
	defer m.seek.Unlock()
	if _, err := m.file.Seek(off, io.SeekStart); err != nil {
		return err
	}
	return exactly(n)(io.Copy(s.file, io.LimitReader(m.file, n)))
}

// exactly checks the result of a copy of n bytes.
func exactly(n int64) func(int64, error) error {
	return func(got int64, err error) error {
		if err == nil && got != n {
			err = fmt.Errorf("source file was cut off: copied %d bytes, want %d", got, n)
		}
		return err
	}
}
