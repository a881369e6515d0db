package onnxio

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one field of an encoded message.
type field struct {
	num    protowire.Number
	typ    protowire.Type
	raw    []byte // tag and value
	val    []byte // the value: of bytes, their contents, else as encoded
	number uint64 // the value of a varint, fixed32 or fixed64
}

// fields ranges over the fields of a message; an error is the last thing it
// gives.
func fields(b []byte) iter.Seq2[field, error] {
	return func(yield func(field, error) bool) {
		for len(b) > 0 {
			f, n, err := nextField(b)
			if !yield(f, err) || err != nil {
				return
			}
			b = b[n:]
		}
	}
}

func nextField(b []byte) (field, int, error) {
	num, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 {
		return field{}, 0, fmt.Errorf("malformed message: field tag: %w", protowire.ParseError(tag))
	}
	n := protowire.ConsumeFieldValue(num, typ, b[tag:])
	if n < 0 {
		return field{}, 0, fmt.Errorf("malformed message: field %d: %w", num, protowire.ParseError(n))
	}
	end := tag + n
	f := field{num: num, typ: typ, raw: b[:end:end], val: b[tag:end:end]}
	switch typ {
	case protowire.VarintType:
		f.number, _ = protowire.ConsumeVarint(f.val)
	case protowire.Fixed32Type:
		f.number = uint64(binary.LittleEndian.Uint32(f.val))
	case protowire.Fixed64Type:
		f.number = binary.LittleEndian.Uint64(f.val)
	case protowire.BytesType:
		v, _ := protowire.ConsumeBytes(f.val)
		f.val = slices.Clip(v)
	}
	return f, end, nil
}

// isBytes reports whether f is the field num and holds bytes: a string or a
// message. A field of another wire type than the schema's is an unknown one.
func (f *field) isBytes(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.BytesType
}

func (f *field) isVarint(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.VarintType
}

// isVarints reports whether f is part of the repeated field num of varints,
// packed or not.
func (f *field) isVarints(num protowire.Number) bool {
	return f.isVarint(num) || f.isBytes(num)
}

func (f *field) isFixed32(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.Fixed32Type
}

// isFixed32s and isFixed64s are isVarints for repeated numbers of fixed width.
func (f *field) isFixed32s(num protowire.Number) bool { return f.isFixed32(num) || f.isBytes(num) }

func (f *field) isFixed64s(num protowire.Number) bool {
	return f.num == num && f.typ == protowire.Fixed64Type || f.isBytes(num)
}

func (f *field) text() string { return string(f.val) }

func (f *field) int() int64 { return int64(f.number) }

// join appends next to the encoding of what came before of the same field.
// Protobuf makes both mean the same: a message that is given twice is merged,
// and a repeated field may come in several packed runs or one by one.
func join(prev, next []byte) []byte {
	if prev == nil {
		return next
	}
	return append(prev, next...)
}

// appendVarints decodes a run of packed varints.
func appendVarints(dst []int64, run []byte) ([]int64, error) {
	for len(run) > 0 {
		x, n := protowire.ConsumeVarint(run)
		if n < 0 {
			return nil, fmt.Errorf("malformed message: packed integers: %w", protowire.ParseError(n))
		}
		dst, run = append(dst, int64(x)), run[n:]
	}
	return dst, nil
}

// appendFloats decodes a run of packed floats.
func appendFloats(dst []float32, run []byte) ([]float32, error) {
	if len(run)%4 != 0 {
		return nil, fmt.Errorf("malformed message: packed floats take %d bytes, want a multiple of 4", len(run))
	}
	for ; len(run) > 0; run = run[4:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(run)))
	}
	return dst, nil
}
