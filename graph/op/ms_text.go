package op

import (
	"fmt"
	"math/bits"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// evalMurmur hashes every element.
func evalMurmur(e *Eval) error {
	x := e.Tensor(0)
	seed := uint32(e.Node.Int("seed", 0))
	out := make([]uint32, x.Len())
	switch w := x.DType().Bits() / 8; {
	case x.DType() == tensor.String:
		for i, s := range x.Strings() {
			out[i] = murmur3([]byte(s), seed)
		}
	case w == 4 || w == 8:
		for i := range out {
			out[i] = murmur3(x.Bytes()[i*w:(i+1)*w], seed)
		}
	default:
		return e.Errorf(0, "want strings or elements of 4 or 8 bytes")
	}
	y := tensor.Of(x.Shape(), out)
	e.SetOut(0, y.Bitcast(murmurType(&e.Call)))
	return nil
}

func murmurType(c *Call) tensor.DType {
	if c.Node.Int("positive", 1) != 0 {
		return tensor.Uint32
	}
	return tensor.Int32
}

func inferMurmur(c *Infer) error {
	c.SetOut(0, murmurType(&c.Call), c.Shape(0))
	return nil
}

// murmur3 is MurmurHash3_x86_32 (Austin Appleby).
func murmur3(data []byte, h uint32) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	n := len(data)
	for ; len(data) >= 4; data = data[4:] {
		k := binaryLittle(data) * c1
		h ^= bits.RotateLeft32(k, 15) * c2
		h = bits.RotateLeft32(h, 13)*5 + 0xe6546b64
	}
	if len(data) > 0 {
		k := binaryLittle(data) * c1
		h ^= bits.RotateLeft32(k, 15) * c2
	}
	h ^= uint32(n)
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// binaryLittle reads up to four bytes, the first as the lowest.
func binaryLittle(b []byte) uint32 {
	var x uint32
	for i, c := range b[:min(4, len(b))] {
		x |= uint32(c) << (8 * i)
	}
	return x
}

// tokenizer is what a Tokenizer's attributes say.
type tokenizer struct {
	separators []*regexp.Regexp
	token      *regexp.Regexp // of a token, nil if separators tell
	chars      bool           // every character is a token
	least      int            // shortest token, in characters
	mark       bool           // rows start and end with control characters
	pad        string
}

func newTokenizer(c *Call) (*tokenizer, error) {
	t := &tokenizer{
		least: int(c.Node.Int("mincharnum", 1)), mark: c.Node.Int("mark", 0) != 0,
		pad: c.Node.Str("pad_value", ""),
	}
	if exp := c.Node.Str("tokenexp", ""); exp != "" {
		re, err := regexp.Compile(exp)
		if err != nil {
			return nil, fmt.Errorf("attribute tokenexp: %w", err)
		}
		t.token = re
		return t, nil
	}
	separators := stringsAttr(c, "separators")
	if len(separators) == 1 && separators[0] == "" {
		t.chars = true
		return t, nil
	}
	if len(separators) == 0 {
		return nil, fmt.Errorf("neither separators nor tokenexp is given")
	}
	for _, s := range separators {
		re, err := regexp.Compile(s)
		if err != nil {
			return nil, fmt.Errorf("attribute separators: %w", err)
		}
		t.separators = append(t.separators, re)
	}
	return t, nil
}

// tokens splits a text.
func (t *tokenizer) tokens(s string) []string {
	var parts []string
	switch {
	case t.chars:
		parts = strings.Split(s, "")
	case t.token != nil:
		parts = t.token.FindAllString(s, -1)
	default:
		parts = []string{s}
		for _, re := range t.separators {
			var next []string
			for _, p := range parts {
				next = append(next, re.Split(p, -1)...)
			}
			parts = next
		}
	}
	return slices.DeleteFunc(parts, func(p string) bool {
		return p == "" || utf8.RuneCountInString(p) < t.least
	})
}

// evalTokenizer splits texts, [C] or [N,C], and fills up the rows of tokens
// to one length.
func evalTokenizer(e *Eval) error {
	texts, err := e.texts(0)
	if err != nil {
		return err
	}
	t, err := newTokenizer(&e.Call)
	if err != nil {
		return err
	}
	if r := e.Tensor(0).Rank(); r < 1 || r > 2 {
		return e.Errorf(0, "has %d axes, want 1 or 2", r)
	}
	rows, width := make([][]string, len(texts)), 0
	for i, s := range texts {
		if !utf8.ValidString(s) {
			return e.Errorf(0, "element %d is not UTF-8", i)
		}
		rows[i] = t.tokens(s)
		width = max(width, len(rows[i]))
	}
	for i, row := range rows {
		for len(row) < width {
			row = append(row, t.pad)
		}
		if t.mark && width > 0 {
			const start, end = "\x02", "\x03"
			row = slices.Insert(row, len(t.tokens(texts[i])), end)
			row = slices.Insert(row, 0, start)
		}
		rows[i] = row
	}
	if t.mark && width > 0 {
		width += 2
	}
	y := tensor.OfStrings(append(e.Tensor(0).Shape().Clone(), width), slices.Concat(rows...))
	e.SetOut(0, y)
	return nil
}

func inferTokenizer(c *Infer) error {
	in := c.Shape(0)
	if in == nil {
		c.SetOut(0, tensor.String, nil)
		return nil
	}
	c.SetOut(0, tensor.String, append(slices.Clone(in), graph.Unknown()))
	return nil
}
