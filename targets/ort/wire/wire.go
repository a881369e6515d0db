// Package wire is what the main program and the onnxpack-ort helper say to
// each other: one [Request], one [Response], in turn, encoded with gob over
// the helper's standard input and output.
package wire

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// Request is one command; exactly one field is set.
type Request struct {
	Load  *Load
	Run   *Run
	Close *Close
}

// Load makes a session. It is answered with its number and ports.
type Load struct {
	Path         string // of the model, or
	Model        []byte // its bytes
	Threads      int    // within an operator; 0 lets ONNX Runtime choose
	Optimization int    // 0 none, 1 basic, 2 extended, 99 all
}

// Run runs a session once and returns its outputs, or, if Rounds is set, runs
// it that many times and returns how long each run took.
type Run struct {
	Session int
	Feeds   map[string]*Value
	Outputs []string // all if nil
	Rounds  int
}

// Close ends a session.
type Close struct{ Session int }

// Response answers a request. Err is set if it failed, and says why.
type Response struct {
	Err     string
	Version string // of ONNX Runtime
	Session int
	Inputs  []string
	Outputs []string
	Values  map[string]*Value
	Nanos   []int64 // per run, or of loading
	Peak    int64   // most bytes the helper has had resident, 0 if not known
}

// Value is a tensor or a sequence of them.
type Value struct {
	Type    tensor.DType
	Shape   []int
	Data    []byte
	Strings []string
	Seq     []*Value
	IsSeq   bool
}

// Of returns the wire form of v; element types and kinds of values that ONNX
// Runtime's C interface does not take are refused.
func Of(v tensor.Value) (*Value, error) {
	switch v := v.(type) {
	case *tensor.Tensor:
		if v.DType() > tensor.Float4E2M1 {
			return nil, fmt.Errorf("a %v tensor cannot be handed to ONNX Runtime", v.DType())
		}
		return &Value{Type: v.DType(), Shape: v.Shape(), Data: v.Bytes(), Strings: v.Strings()}, nil
	case *tensor.Seq:
		s := &Value{IsSeq: true}
		for i, item := range v.Items {
			w, err := Of(item)
			if err != nil {
				return nil, fmt.Errorf("item %d: %w", i, err)
			}
			s.Seq = append(s.Seq, w)
		}
		return s, nil
	}
	return nil, fmt.Errorf("a %T cannot be handed to ONNX Runtime", v)
}

// Value returns the value that w stands for, sharing its data.
func (w *Value) Value() (tensor.Value, error) {
	if w.IsSeq {
		s := &tensor.Seq{}
		for _, item := range w.Seq {
			v, err := item.Value()
			if err != nil {
				return nil, err
			}
			s.Items = append(s.Items, v)
		}
		return s, nil
	}
	if w.Type == tensor.String {
		if n := tensor.Shape(w.Shape).Len(); n != len(w.Strings) {
			return nil, fmt.Errorf("%d strings for shape %v", len(w.Strings), w.Shape)
		}
		return tensor.OfStrings(w.Shape, w.Strings), nil
	}
	return tensor.FromBytes(w.Type, w.Shape, w.Data)
}

// Conn is one end of the conversation.
type Conn struct {
	enc *gob.Encoder
	dec *gob.Decoder
}

// NewConn talks through r and w.
func NewConn(r io.Reader, w io.Writer) *Conn {
	return &Conn{gob.NewEncoder(w), gob.NewDecoder(r)}
}

// Send writes a *Request or *Response.
func (c *Conn) Send(message any) error { return c.enc.Encode(message) }

// Receive reads into a *Request or *Response.
func (c *Conn) Receive(message any) error { return c.dec.Decode(message) }

// Serve answers requests until the other end closes, which is no error. A
// failure of answer is said in the response; sign completes each of them.
func (c *Conn) Serve(answer func(*Request) (*Response, error), sign func(*Response)) error {
	for {
		var req Request
		if err := c.Receive(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		resp, err := answer(&req)
		if err != nil {
			resp = &Response{Err: err.Error()}
		}
		sign(resp)
		if err := c.Send(resp); err != nil {
			return err
		}
	}
}
