package dataset

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// npyHeader is what the head of a .npy file says (NumPy's format, versions 1
// to 3).
type npyHeader struct {
	dtype   tensor.DType
	shape   tensor.Shape
	fortran bool // first index fastest
	swap    bool // big-endian
	text    int  // characters per element of a string array, else 0
	offset  int64
}

// npyTypes gives the type of each NumPy code. NumPy has no bfloat16: the code
// is that of the ml_dtypes package.
var npyTypes = map[string]tensor.DType{
	"f2": tensor.Float16, "f4": tensor.Float32, "f8": tensor.Float64,
	"i1": tensor.Int8, "i2": tensor.Int16, "i4": tensor.Int32, "i8": tensor.Int64,
	"u1": tensor.Uint8, "u2": tensor.Uint16, "u4": tensor.Uint32, "u8": tensor.Uint64,
	"b1": tensor.Bool, "c8": tensor.Complex64, "c16": tensor.Complex128,
	"V2": tensor.BFloat16,
}

var (
	npyDescr   = regexp.MustCompile(`'descr'\s*:\s*'([<>|=]?)([a-zA-Z]\d*)'`)
	npyFortran = regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`'shape'\s*:\s*\(([\d,\s]*)\)`)
)

const maxNpyHeader = 1 << 20

func readNpyHeader(r io.ReaderAt) (npyHeader, error) {
	var h npyHeader
	head := make([]byte, 12)
	if _, err := r.ReadAt(head, 0); err != nil {
		return h, fmt.Errorf("no .npy header: %w", err)
	}
	if string(head[:6]) != "\x93NUMPY" {
		return h, fmt.Errorf("starts with %q, want \"\\x93NUMPY\"", head[:6])
	}
	size, start := int64(binary.LittleEndian.Uint16(head[8:])), int64(10)
	if head[6] >= 2 {
		size, start = int64(binary.LittleEndian.Uint32(head[8:])), 12
	}
	if head[6] < 1 || head[6] > 3 || size > maxNpyHeader {
		return h, fmt.Errorf(".npy version %d with a header of %d bytes, want version 1 to 3 and at most %d", head[6], size, maxNpyHeader)
	}
	text := make([]byte, size)
	if _, err := r.ReadAt(text, start); err != nil {
		return h, fmt.Errorf(".npy header is cut off: %w", err)
	}
	h.offset = start + size
	return h, h.parse(string(text))
}

func (h *npyHeader) parse(text string) error {
	descr, order, shape := npyDescr.FindStringSubmatch(text), npyFortran.FindStringSubmatch(text), npyShape.FindStringSubmatch(text)
	if descr == nil || order == nil || shape == nil {
		return fmt.Errorf(".npy header is %q, want a plain type, an order and a shape", strings.TrimSpace(text))
	}
	h.swap = descr[1] == ">"
	h.fortran = order[1] == "True"
	if code := descr[2]; code[0] == 'U' {
		n, err := strconv.Atoi(code[1:])
		if err != nil || n > 1<<20 {
			return fmt.Errorf(".npy type %q is not supported", code)
		}
		h.dtype, h.text = tensor.String, n
	} else if d, ok := npyTypes[code]; ok {
		h.dtype = d
	} else {
		return fmt.Errorf(".npy type %q is not supported, want a number, bool or U", descr[1]+code)
	}
	h.shape = tensor.Shape{}
	for part := range strings.SplitSeq(shape[1], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return fmt.Errorf(".npy shape (%s): %w", shape[1], err)
		}
		h.shape = append(h.shape, n)
	}
	if len(h.shape) > 64 {
		return fmt.Errorf(".npy array has %d axes, want at most 64", len(h.shape))
	}
	return h.shape.Check()
}

func (h *npyHeader) elemBytes() int {
	if h.dtype == tensor.String {
		return 4 * h.text
	}
	return h.dtype.Bits() / 8
}

// array is a .npy array whose rows, along the first axis, are read when asked.
type array struct {
	npyHeader
	r readerAt
}

func openArray(r readerAt) (*array, error) {
	h, err := readNpyHeader(r)
	if err != nil {
		return nil, err
	}
	if n := int64(h.shape.Len()) * int64(h.elemBytes()); n > 0 {
		var last [1]byte
		if _, err := r.ReadAt(last[:], h.offset+n-1); err != nil {
			return nil, fmt.Errorf("%v%v is cut off: want %d bytes of data", h.dtype, h.shape, n)
		}
	}
	return &array{h, r}, nil
}

// all reads the whole array.
func (a *array) all() (*tensor.Tensor, error) {
	if a.fortran && len(a.shape) > 1 {
		return a.allFortran()
	}
	return a.read(a.shape, 0)
}

// row reads index i of the first axis, which stays as an axis of 1.
func (a *array) row(i int) (*tensor.Tensor, error) {
	shape := a.shape.Clone()
	shape[0] = 1
	if a.fortran && len(a.shape) > 1 {
		return a.rowFortran(shape, i)
	}
	return a.read(shape, int64(i)*int64(shape.Len()))
}

// read returns the elements from position first on.
func (a *array) read(shape tensor.Shape, first int64) (*tensor.Tensor, error) {
	size := a.elemBytes()
	buf := make([]byte, shape.Len()*size)
	if _, err := a.r.ReadAt(buf, a.offset+first*int64(size)); err != nil && len(buf) > 0 {
		return nil, err
	}
	return a.decode(shape, buf)
}

func (a *array) decode(shape tensor.Shape, buf []byte) (*tensor.Tensor, error) {
	if a.dtype == tensor.String {
		return tensor.OfStrings(shape, decodeUTF32(buf, a.text, a.swap)), nil
	}
	if a.swap {
		size := a.elemBytes()
		if a.dtype.IsComplex() {
			size /= 2
		}
		for i := 0; i < len(buf); i += size {
			slices.Reverse(buf[i : i+size])
		}
	}
	return tensor.FromBytes(a.dtype, shape, buf)
}

func decodeUTF32(buf []byte, width int, swap bool) []string {
	var order binary.ByteOrder = binary.LittleEndian
	if swap {
		order = binary.BigEndian
	}
	if width == 0 {
		return nil
	}
	out := make([]string, 0, len(buf)/(4*width))
	for i := 0; i < len(buf); i += 4 * width {
		var b strings.Builder
		for j := range width {
			if c := order.Uint32(buf[i+4*j:]); c != 0 {
				b.WriteRune(rune(c))
			}
		}
		out = append(out, b.String())
	}
	return out
}

// allFortran reads an array whose first index runs fastest.
func (a *array) allFortran() (*tensor.Tensor, error) {
	size, n := a.elemBytes(), a.shape.Len()
	src := make([]byte, n*size)
	if _, err := a.r.ReadAt(src, a.offset); err != nil && n > 0 {
		return nil, err
	}
	dst := make([]byte, n*size)
	index := make([]int, len(a.shape))
	for i := range n {
		from, stride := 0, 1
		for k, x := range index {
			from += x * stride
			stride *= a.shape[k]
		}
		copy(dst[i*size:(i+1)*size], src[from*size:])
		for k := len(index) - 1; k >= 0; k-- {
			if index[k]++; index[k] < a.shape[k] {
				break
			}
			index[k] = 0
		}
	}
	return a.decode(a.shape, dst)
}

func (a *array) rowFortran(shape tensor.Shape, i int) (*tensor.Tensor, error) {
	t, err := a.allFortran()
	if err != nil {
		return nil, err
	}
	n := shape.Len()
	if a.dtype == tensor.String {
		return tensor.OfStrings(shape, t.Strings()[i*n:(i+1)*n]), nil
	}
	size := a.elemBytes()
	return tensor.FromBytes(a.dtype, shape, t.Bytes()[i*n*size:(i+1)*n*size])
}

// ReadNpy reads a .npy array.
func ReadNpy(r io.Reader) (*tensor.Tensor, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	a, err := openArray(memory{bytes.NewReader(data)})
	if err != nil {
		return nil, err
	}
	return a.all()
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

// WriteNpy writes a tensor as a .npy array, version 1. Elements that NumPy
// has no type for are widened: four-bit and two-bit integers to int8 or
// uint8, the eight-bit and four-bit floats to float32.
func WriteNpy(w io.Writer, t *tensor.Tensor) error {
	t, code, err := npyElements(t)
	if err != nil {
		return err
	}
	var dims []string
	for _, d := range t.Shape() {
		dims = append(dims, strconv.Itoa(d)+",")
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", code, strings.Join(dims, " "))
	pad := 63 - (10+len(head))%64
	head += strings.Repeat(" ", pad) + "\n"
	b := bufio.NewWriter(w)
	b.WriteString("\x93NUMPY\x01\x00")
	binary.Write(b, binary.LittleEndian, uint16(len(head)))
	b.WriteString(head)
	if t.DType() == tensor.String {
		writeUTF32(b, t.Strings(), code)
	} else {
		b.Write(t.Bytes())
	}
	return b.Flush()
}

// npyElements returns t in a type that NumPy has, and the code of that type.
func npyElements(t *tensor.Tensor) (*tensor.Tensor, string, error) {
	d := t.DType()
	if d == tensor.String {
		width := 1
		for _, s := range t.Strings() {
			width = max(width, len([]rune(s)))
		}
		return t, fmt.Sprintf("<U%d", width), nil
	}
	wide := d
	switch {
	case d.IsInteger() && d.Bits() < 8 && d.IsSigned():
		wide = tensor.Int8
	case d.IsInteger() && d.Bits() < 8:
		wide = tensor.Uint8
	case d.IsFloat() && d.Bits() <= 8:
		wide = tensor.Float32
	}
	t, err := convert(t, wide)
	if err != nil {
		return nil, "", err
	}
	for code, x := range npyTypes {
		if x == wide {
			if wide.Bits() == 8 {
				return t, "|" + code, nil
			}
			return t, "<" + code, nil
		}
	}
	return nil, "", fmt.Errorf("NumPy has no type for %v", d)
}

func writeUTF32(b *bufio.Writer, strs []string, code string) {
	width, _ := strconv.Atoi(strings.TrimPrefix(code, "<U"))
	for _, s := range strs {
		runes := []rune(s)
		for i := range width {
			var r rune
			if i < len(runes) {
				r = runes[i]
			}
			binary.Write(b, binary.LittleEndian, uint32(r))
		}
	}
}

// openNpyFile opens a .npy file for reading by rows.
func openNpyFile(path string) (*array, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	a, err := openArray(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}
