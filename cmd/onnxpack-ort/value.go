package main

import (
	"fmt"
	goruntime "runtime"
	"unsafe"

	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/targets/ort/wire"
)

// operand makes an OrtValue of v. Tensors refer to v's memory.
func (c *call) operand(v *wire.Value) (uintptr, error) {
	switch {
	case v.IsSeq:
		return c.sequence(v)
	case v.Type == tensor.String:
		return c.strings(v)
	}
	data := v.Data
	if len(data) == 0 {
		data = make([]byte, 8) // an empty tensor has an address too
	}
	dims := dims(v.Shape)
	c.keep = append(c.keep, data, dims)
	var h uintptr
	err := c.s.rt.call(createTensorWithDataAsOrtValue, c.s.rt.memory, address(&data[0]), uintptr(len(v.Data)),
		address(unsafe.SliceData(dims)), uintptr(len(dims)), uintptr(v.Type), address(&h))
	return h, err
}

func dims(shape []int) []int64 {
	d := make([]int64, len(shape), len(shape)+1)
	for i, n := range shape {
		d[i] = int64(n)
	}
	return d
}

func (c *call) strings(v *wire.Value) (uintptr, error) {
	dims := dims(v.Shape)
	var h uintptr
	err := c.s.rt.call(createTensorAsOrtValue, c.s.rt.allocator,
		address(unsafe.SliceData(dims)), uintptr(len(dims)), uintptr(tensor.String), address(&h))
	goruntime.KeepAlive(dims)
	if err != nil || len(v.Strings) == 0 {
		return h, err
	}
	texts := make([]*byte, len(v.Strings))
	addrs := make([]uintptr, len(v.Strings))
	for i, s := range v.Strings {
		texts[i] = cString(s)
		addrs[i] = address(texts[i])
	}
	err = c.s.rt.call(fillStringTensor, h, first(addrs), uintptr(len(addrs)))
	goruntime.KeepAlive(texts)
	return h, err
}

// sequence makes a sequence of tensors. It holds copies of its items.
func (c *call) sequence(v *wire.Value) (uintptr, error) {
	if len(v.Seq) == 0 {
		return 0, fmt.Errorf("an empty sequence cannot be handed to ONNX Runtime")
	}
	items := make([]uintptr, len(v.Seq))
	for i, item := range v.Seq {
		h, err := c.operand(item)
		if err != nil {
			return 0, fmt.Errorf("item %d: %w", i, err)
		}
		items[i] = h
		defer c.s.rt.release(releaseValue, h)
	}
	var h uintptr
	err := c.s.rt.call(createValue, first(items), uintptr(len(items)), onnxTypeSequence, address(&h))
	return h, err
}

// value copies an OrtValue.
func (rt *runtime) value(h uintptr) (*wire.Value, error) {
	if h == 0 {
		return nil, fmt.Errorf("an optional without a value cannot be read from ONNX Runtime")
	}
	var kind int32
	if err := rt.call(getValueType, h, address(&kind)); err != nil {
		return nil, err
	}
	switch kind {
	case onnxTypeTensor:
		return rt.tensor(h)
	case onnxTypeSequence:
		return rt.items(h)
	}
	return nil, fmt.Errorf("a value of kind %d (neither tensor nor sequence) cannot be read from ONNX Runtime", kind)
}

func (rt *runtime) items(h uintptr) (*wire.Value, error) {
	var n uintptr
	if err := rt.call(getValueCount, h, address(&n)); err != nil {
		return nil, err
	}
	v := &wire.Value{IsSeq: true}
	for i := range n {
		var item uintptr
		if err := rt.call(getValue, h, i, rt.allocator, address(&item)); err != nil {
			return nil, err
		}
		w, err := rt.value(item)
		rt.release(releaseValue, item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		v.Seq = append(v.Seq, w)
	}
	return v, nil
}

func (rt *runtime) tensor(h uintptr) (*wire.Value, error) {
	v, err := rt.typeAndShape(h)
	if err != nil {
		return nil, err
	}
	n := tensor.Shape(v.Shape).Len()
	if v.Type == tensor.String {
		v.Strings, err = rt.stringData(h, n)
		return v, err
	}
	var data uintptr
	if err := rt.call(getTensorMutableData, h, address(&data)); err != nil {
		return nil, err
	}
	v.Data = make([]byte, v.Type.Bytes(n))
	if n > 0 {
		copy(v.Data, unsafe.Slice((*byte)(pointer(data)), len(v.Data)))
	}
	return v, nil
}

func (rt *runtime) typeAndShape(h uintptr) (*wire.Value, error) {
	var info, rank uintptr
	if err := rt.call(getTensorTypeAndShape, h, address(&info)); err != nil {
		return nil, err
	}
	defer rt.release(releaseTensorTypeAndShapeInfo, info)
	var elem int32
	if err := rt.call(getTensorElementType, info, address(&elem)); err != nil {
		return nil, err
	}
	if elem > int32(tensor.Float4E2M1) || !tensor.DType(elem).Valid() {
		return nil, fmt.Errorf("elements of ONNX Runtime's type %d are not known", elem)
	}
	if err := rt.call(getDimensionsCount, info, address(&rank)); err != nil {
		return nil, err
	}
	dims := make([]int64, rank+1)
	if err := rt.call(getDimensions, info, address(&dims[0]), rank); err != nil {
		return nil, err
	}
	v := &wire.Value{Type: tensor.DType(elem), Shape: make([]int, rank)}
	for i := range v.Shape {
		v.Shape[i] = int(dims[i])
	}
	return v, nil
}

func (rt *runtime) stringData(h uintptr, n int) ([]string, error) {
	if n == 0 {
		return []string{}, nil
	}
	var size uintptr
	if err := rt.call(getStringTensorDataLength, h, address(&size)); err != nil {
		return nil, err
	}
	text := make([]byte, size+1)
	offsets := make([]uintptr, n)
	err := rt.call(getStringTensorContent, h, address(&text[0]), size, first(offsets), uintptr(n))
	if err != nil {
		return nil, err
	}
	out := make([]string, n)
	for i := range out {
		end := size
		if i+1 < n {
			end = offsets[i+1]
		}
		out[i] = string(text[offsets[i]:end])
	}
	return out, nil
}
