package onnxio

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// spanSize is from how many bytes on a message refers to bytes instead of
// copying them.
const spanSize = 1 << 10

// message is an encoded message as a list of parts. Long byte fields are
// parts of their own that are not copied, nor even read, before the message
// is written.
type message struct {
	parts [][]byte
	tail  []byte // what follows the parts
	size  int64
}

// spanOf returns the message that is encoded as b.
func spanOf(b []byte) *message {
	m := &message{}
	m.bytes(b)
	return m
}

// bytes appends encoded bytes.
func (m *message) bytes(b []byte) {
	m.size += int64(len(b))
	if len(b) < spanSize {
		m.tail = append(m.tail, b...)
		return
	}
	m.flush()
	m.parts = append(m.parts, b)
}

func (m *message) flush() {
	if len(m.tail) > 0 {
		m.parts = append(m.parts, m.tail)
		m.tail = nil
	}
}

// all returns the whole message's parts.
func (m *message) all() [][]byte {
	m.flush()
	return m.parts
}

func (m *message) grew(from int) { m.size += int64(len(m.tail) - from) }

func (m *message) varint(num protowire.Number, x uint64) {
	from := len(m.tail)
	m.tail = protowire.AppendVarint(protowire.AppendTag(m.tail, num, protowire.VarintType), x)
	m.grew(from)
}

func (m *message) int(num protowire.Number, x int64) { m.varint(num, uint64(x)) }

// intUnlessZero leaves out a zero, the value of an absent field.
func (m *message) intUnlessZero(num protowire.Number, x int64) {
	if x != 0 {
		m.int(num, x)
	}
}

func (m *message) float(num protowire.Number, x float32) {
	from := len(m.tail)
	m.tail = protowire.AppendFixed32(protowire.AppendTag(m.tail, num, protowire.Fixed32Type), math.Float32bits(x))
	m.grew(from)
}

func (m *message) header(num protowire.Number, size int64) {
	from := len(m.tail)
	m.tail = protowire.AppendVarint(protowire.AppendTag(m.tail, num, protowire.BytesType), uint64(size))
	m.grew(from)
}

// span appends a field of bytes that belong to someone else.
func (m *message) span(num protowire.Number, b []byte) {
	m.header(num, int64(len(b)))
	m.bytes(b)
}

func (m *message) text(num protowire.Number, s string) { m.span(num, []byte(s)) }

// textUnlessEmpty leaves out an empty string, the value of an absent field.
func (m *message) textUnlessEmpty(num protowire.Number, s string) {
	if s != "" {
		m.text(num, s)
	}
}

func (m *message) texts(num protowire.Number, list []string) {
	for _, s := range list {
		m.text(num, s)
	}
}

// message appends a field that is a message.
func (m *message) message(num protowire.Number, c *message) {
	m.header(num, c.size)
	if len(c.parts) > 0 {
		m.flush()
		m.parts = append(m.parts, c.parts...)
	}
	m.tail = append(m.tail, c.tail...)
	m.size += c.size
}
