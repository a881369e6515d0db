package onnxio

import "github.com/onnxpack/onnxpack/graph"

func encodeGraph(g *graph.Graph) *message {
	if graphUnchanged(g) {
		return spanOf(g.Wire)
	}
	w := &message{}
	for n := range g.Nodes() {
		w.message(graphNode, encodeNode(n))
	}
	w.textUnlessEmpty(graphName, g.Name)
	for _, v := range g.Inits() {
		if v.Init.Sparse == nil {
			w.message(graphInit, encodeLiteral(v.Name(), v.Init))
		}
	}
	w.textUnlessEmpty(graphDoc, g.Doc)
	for _, v := range g.Inputs() {
		w.message(graphInput, encodeEntry(v))
	}
	output := map[*graph.Value]bool{}
	for _, v := range g.Outputs() {
		output[v] = true
		w.message(graphOutput, encodeEntry(v))
	}
	for _, v := range made(g) {
		if stated(v) && !output[v] {
			w.message(graphValueInfo, encodeEntry(v))
		}
	}
	for _, q := range g.Quantization {
		w.message(graphQuantization, encodeQuant(q))
	}
	for _, v := range g.Inits() {
		if v.Init.Sparse != nil {
			w.message(graphSparseInit, encodeLiteral(v.Name(), v.Init))
		}
	}
	w.props(graphMetadata, g.Metadata)
	w.bytes(g.Unknown)
	return w
}

// made returns the values that initializers and nodes of g make, in order.
func made(g *graph.Graph) []*graph.Value {
	var list []*graph.Value
	for _, v := range g.Inits() {
		if !v.IsInput() {
			list = append(list, v)
		}
	}
	for n := range g.Nodes() {
		for _, v := range n.Outs() {
			if v != nil {
				list = append(list, v)
			}
		}
	}
	return list
}

// stated reports whether something is known of v that a value_info tells.
func stated(v *graph.Value) bool {
	return v.Type != nil && !v.Inferred || v.Doc != "" || v.Metadata != nil || v.Unknown != nil
}

// encodeEntry writes the value_info, input or output entry of v.
func encodeEntry(v *graph.Value) *message {
	if entryUnchanged(v) {
		return spanOf(v.Wire)
	}
	w := &message{}
	w.text(valueName, v.Name())
	if v.Type != nil {
		w.message(valueType, encodeType(v.Type))
	}
	w.textUnlessEmpty(valueDoc, v.Doc)
	w.props(valueMetadata, v.Metadata)
	w.bytes(v.Unknown)
	return w
}

func encodeQuant(q graph.QuantAnnotation) *message {
	w := &message{}
	w.text(quantValue, q.Value)
	w.props(quantParams, q.Params)
	w.bytes(q.Unknown)
	return w
}

func encodeNode(n *graph.Node) *message {
	if nodeUnchanged(n) {
		return spanOf(n.Wire)
	}
	w := &message{}
	w.texts(nodeInput, names(n.Ins()))
	w.texts(nodeOutput, names(n.Outs()))
	w.textUnlessEmpty(nodeName, n.Name)
	w.text(nodeOp, n.Op)
	for _, a := range n.Attrs() {
		w.message(nodeAttr, encodeAttr(a))
	}
	w.textUnlessEmpty(nodeDoc, n.Doc)
	w.textUnlessEmpty(nodeDomain, n.Domain)
	w.textUnlessEmpty(nodeOverload, n.Overload)
	w.props(nodeMetadata, n.Metadata)
	for _, b := range n.Devices {
		w.span(nodeDevices, b)
	}
	w.bytes(n.Unknown)
	return w
}

// names returns the values' names, empty for an omitted one.
func names(values []*graph.Value) []string {
	list := make([]string, len(values))
	for i, v := range values {
		if v != nil {
			list[i] = v.Name()
		}
	}
	return list
}

func encodeAttr(a *graph.Attr) *message {
	if attrUnchanged(a) {
		return spanOf(a.Wire)
	}
	w := &message{}
	w.text(attrName, a.Name)
	if a.Ref == "" {
		w.attrValue(a)
	}
	w.textUnlessEmpty(attrDoc, a.Doc)
	w.int(attrKind, int64(a.Kind))
	w.textUnlessEmpty(attrRef, a.Ref)
	w.bytes(a.Unknown)
	return w
}

// attrValue writes the value. Scalars are written even when they are zero:
// ONNX's checker asks for the field that the type names.
func (m *message) attrValue(a *graph.Attr) {
	num := attrNumbers[a.Kind]
	for _, x := range a.Floats {
		m.float(num, x)
	}
	for _, x := range a.Ints {
		m.int(num, x)
	}
	m.texts(num, a.Strings)
	for _, l := range a.Literals {
		m.message(num, encodeLiteral(l.Name, l))
	}
	for _, g := range a.Graphs {
		m.message(num, encodeGraph(g))
	}
	for _, t := range a.Types {
		m.message(num, encodeType(t))
	}
}
