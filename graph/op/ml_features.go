package op

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// mlFeaturesDefs holds operators of ai.onnx.ml that arrange features.
var mlFeaturesDefs = []*Def{
	{Domain: mlDomain, Name: "ArrayFeatureExtractor", Since: 1, Infer: inferArrayFeatures, Eval: evalArrayFeatures, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "CastMap", Since: 1, Infer: inferCastMap, Eval: evalCastMap},
	{Domain: mlDomain, Name: "CategoryMapper", Since: 1, Infer: inferSwapped, Eval: evalCategoryMapper, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "DictVectorizer", Since: 1, Infer: inferDictVectorizer, Eval: evalDictVectorizer},
	{Domain: mlDomain, Name: "FeatureVectorizer", Since: 1, Infer: inferFeatureVectorizer, Eval: evalFeatureVectorizer, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "LabelEncoder", Since: 1, Until: 1, Infer: inferSwapped, Eval: evalLabelEncoder1, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "LabelEncoder", Since: 2, Infer: inferLabelEncoder, Eval: evalLabelEncoder, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "OneHotEncoder", Since: 1, Infer: inferOneHotEncoder, Eval: evalOneHotEncoder, Cost: (*Infer).traffic},
	{Domain: mlDomain, Name: "ZipMap", Since: 1, Infer: inferZipMap, Eval: evalZipMap},
}

func stringsAttr(c *Call, name string) []string {
	if a := c.Node.Attr(name); a != nil {
		return a.Strings
	}
	return nil
}

func evalArrayFeatures(e *Eval) error {
	x, at := e.Tensor(0), e.Tensor(1)
	if x.Rank() == 0 {
		return e.Errorf(0, "want at least one axis")
	}
	outer, n, _ := split3(x.Shape(), x.Rank()-1)
	idx, err := indices(at, n)
	if err != nil {
		return e.Errorf(1, "%w", err)
	}
	out := tensor.Shape{1, len(idx)}
	if x.Rank() > 1 {
		out = joinShapes(x.Shape()[:x.Rank()-1], tensor.Shape{len(idx)})
	}
	y := e.New(x.DType(), out)
	e.pick(y, x, outer, n, 1, idx)
	e.SetOut(0, y)
	return nil
}

func inferArrayFeatures(c *Infer) error {
	in, at := c.Shape(0), c.Shape(1)
	c.SetOut(0, c.Elem(0), nil)
	if len(in) == 0 || at == nil {
		return nil
	}
	count := at.Len()
	if len(in) == 1 {
		c.SetOut(0, c.Elem(0), graph.Dims{graph.Known(1), count})
		return nil
	}
	c.SetOut(0, c.Elem(0), joinDims(in[:len(in)-1], graph.Dims{count}))
	return nil
}

// mapInput returns input i, which must be a map.
func (e *Eval) mapInput(i int) (*tensor.Map, error) {
	m, ok := e.In[i].(*tensor.Map)
	if !ok {
		return nil, fmt.Errorf("input %d is no map", i)
	}
	return m, nil
}

// mapValues returns the scalar values of a map as one tensor of an axis.
func (e *Eval) mapValues(m *tensor.Map) (*tensor.Tensor, error) {
	parts, err := tensorsOf(m.Values)
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("the map is empty")
	}
	for i, p := range parts {
		if p.Len() != 1 {
			return nil, fmt.Errorf("value %d of the map is %v, want one element", i, p)
		}
		parts[i] = p.Reshape(tensor.Shape{1})
	}
	return e.concat(parts, 0)
}

// evalCastMap puts the values of a map in a row: in order of keys, or each at
// the place that its key tells.
func evalCastMap(e *Eval) error {
	m, err := e.mapInput(0)
	if err != nil {
		return err
	}
	if m.Keys.DType() != tensor.Int64 {
		return fmt.Errorf("the map has %v keys, want int64", m.Keys.DType())
	}
	to, err := castMapType(&e.Call)
	if err != nil {
		return err
	}
	keys := tensor.Data[int64](m.Keys)
	places, n := make([]int, len(keys)), len(keys)
	if form := e.Node.Str("map_form", "DENSE"); form == "SPARSE" {
		n = int(e.Node.Int("max_map", 1))
		for i, k := range keys {
			if k < 0 || k >= int64(n) {
				return fmt.Errorf("key %d is outside [0,%d]", k, n-1)
			}
			places[i] = int(k)
		}
	} else {
		order := firstAxes(n)
		slices.SortFunc(order, func(a, b int) int { return cmp.Compare(keys[a], keys[b]) })
		for place, i := range order {
			places[i] = place
		}
	}
	y := tensor.New(to, tensor.Shape{1, max(n, 0)})
	if len(keys) > 0 {
		vals, err := e.mapValues(m)
		if err != nil {
			return err
		}
		if vals, err = tensor.Convert(vals, to, false, tensor.RoundUp); err != nil {
			return err
		}
		e.put(y, vals, 1, places)
	}
	e.SetOut(0, y)
	return nil
}

func castMapType(c *Call) (tensor.DType, error) {
	switch to := c.Node.Str("cast_to", "TO_FLOAT"); to {
	case "TO_FLOAT":
		return tensor.Float32, nil
	case "TO_STRING":
		return tensor.String, nil
	case "TO_INT64":
		return tensor.Int64, nil
	default:
		return 0, fmt.Errorf("attribute cast_to is %q, want TO_FLOAT, TO_STRING or TO_INT64", to)
	}
}

func inferCastMap(c *Infer) error {
	to, err := castMapType(&c.Call)
	if err != nil {
		return err
	}
	c.SetOut(0, to, graph.Dims{graph.Known(1), graph.Unknown()})
	return nil
}

// inferSwapped is the rule of operators that make strings of integers and
// integers of strings.
func inferSwapped(c *Infer) error {
	switch c.Elem(0) {
	case tensor.String:
		c.SetOut(0, tensor.Int64, c.Shape(0))
	case tensor.Int64:
		c.SetOut(0, tensor.String, c.Shape(0))
	}
	return nil
}

func evalCategoryMapper(e *Eval) error {
	return swapCategories(e, e.Node.Ints("cats_int64s"), stringsAttr(&e.Call, "cats_strings"))
}

// evalLabelEncoder1 is LabelEncoder of version 1, whose integers are the
// places of the classes.
func evalLabelEncoder1(e *Eval) error {
	classes := stringsAttr(&e.Call, "classes_strings")
	ids := make([]int64, len(classes))
	for i := range ids {
		ids[i] = int64(i)
	}
	return swapCategories(e, ids, classes)
}

// swapCategories maps integers to the strings at the same place, or back.
func swapCategories(e *Eval, ids []int64, names []string) error {
	if len(ids) != len(names) {
		return fmt.Errorf("%d integers for %d strings", len(ids), len(names))
	}
	x := e.Tensor(0)
	switch x.DType() {
	case tensor.String:
		out := lookUp(x.Strings(), table(names, ids), e.Node.Int("default_int64", -1))
		e.SetOut(0, tensor.Of(x.Shape(), out))
	case tensor.Int64:
		out := lookUp(tensor.Data[int64](x), table(ids, names), e.Node.Str("default_string", "_Unused"))
		e.SetOut(0, tensor.OfStrings(x.Shape(), out))
	default:
		return e.Errorf(0, "want strings or int64")
	}
	return nil
}

func table[K comparable, V any](keys []K, values []V) map[K]V {
	m := make(map[K]V, len(keys))
	for i, k := range keys {
		m[k] = values[i]
	}
	return m
}

func lookUp[K comparable, V any](x []K, m map[K]V, def V) []V {
	out := make([]V, len(x))
	for i, k := range x {
		v, ok := m[k]
		if !ok {
			v = def
		}
		out[i] = v
	}
	return out
}

// labelSide returns the keys or values of a LabelEncoder as a tensor.
func labelSide(c *Call, side string) (*tensor.Tensor, error) {
	if t := tensorAttr(c, side+"_tensor"); t != nil {
		if t.Rank() > 1 {
			return nil, fmt.Errorf("attribute %s_tensor has %d axes, want 1", side, t.Rank())
		}
		return t, nil
	}
	if s := stringsAttr(c, side+"_strings"); s != nil {
		return tensor.OfStrings(tensor.Shape{len(s)}, s), nil
	}
	if i := c.Node.Ints(side + "_int64s"); i != nil {
		return tensor.Vector(i...), nil
	}
	if f := c.Node.Floats(side + "_floats"); f != nil {
		return tensor.Vector(f...), nil
	}
	return nil, fmt.Errorf("no %s are given", side)
}

// labelDefault returns what a LabelEncoder makes of unknown elements.
func labelDefault(c *Call, d tensor.DType) (*tensor.Tensor, error) {
	if t := tensorAttr(c, "default_tensor"); t != nil {
		if t.DType() != d || t.Len() != 1 {
			return nil, fmt.Errorf("attribute default_tensor is %v, want one %v", t, d)
		}
		return t, nil
	}
	switch {
	case d == tensor.String:
		return tensor.OfStrings(tensor.Shape{}, []string{c.Node.Str("default_string", "_Unused")}), nil
	case d.IsFloat():
		return tensor.FromFloat32s(d, tensor.Shape{}, []float32{c.Node.Float("default_float", 0)}), nil
	}
	return tensor.FromInt64s(d, tensor.Shape{}, []int64{c.Node.Int("default_int64", -1)}), nil
}

func evalLabelEncoder(e *Eval) error {
	x := e.Tensor(0)
	keys, err := labelSide(&e.Call, "keys")
	if err != nil {
		return err
	}
	values, err := labelSide(&e.Call, "values")
	if err != nil {
		return err
	}
	if keys.Len() != values.Len() {
		return fmt.Errorf("%d keys for %d values", keys.Len(), values.Len())
	}
	if x.DType() != keys.DType() {
		return e.Errorf(0, "the keys are %v", keys.DType())
	}
	def, err := labelDefault(&e.Call, values.DType())
	if err != nil {
		return err
	}
	places, err := labelPlaces(keys, x)
	if err != nil {
		return e.Errorf(0, "%w", err)
	}
	y := e.New(values.DType(), x.Shape())
	fill(y, def)
	e.pick(y, values, 1, values.Len(), 1, places)
	e.SetOut(0, y)
	return nil
}

// labelPlaces returns the place of the last key equal to each element of x,
// -1 where there is none. NaNs are equal.
func labelPlaces(keys, x *tensor.Tensor) ([]int, error) {
	at := firstAxes(keys.Len())
	switch d := x.DType(); {
	case d == tensor.String:
		return lookUp(x.Strings(), table(keys.Strings(), at), -1), nil
	case d.IsInteger():
		return lookUp(tensor.Int64s(x), table(tensor.Int64s(keys), at), -1), nil
	case d.IsFloat():
		k := tensor.Float64s(keys)
		places := lookUp(tensor.Float64s(x), table(k, at), -1)
		nan := -1
		for i, v := range k {
			if v != v {
				nan = i
			}
		}
		for i, v := range tensor.Float64s(x) {
			if v != v {
				places[i] = nan
			}
		}
		return places, nil
	}
	return nil, fmt.Errorf("want strings, integers or floats")
}

func inferLabelEncoder(c *Infer) error {
	values, err := labelSide(&c.Call, "values")
	if err != nil {
		return err
	}
	c.SetOut(0, values.DType(), c.Shape(0))
	return nil
}

// evalDictVectorizer puts the values of a map in a row, in the order of a
// vocabulary of keys.
func evalDictVectorizer(e *Eval) error {
	m, err := e.mapInput(0)
	if err != nil {
		return err
	}
	var places []int
	var n int
	if m.Keys.DType() == tensor.String {
		words := stringsAttr(&e.Call, "string_vocabulary")
		n = len(words)
		places = lookUp(m.Keys.Strings(), table(words, firstAxes(n)), -1)
	} else {
		words := e.Node.Ints("int64_vocabulary")
		n = len(words)
		places = lookUp(tensor.Data[int64](m.Keys), table(words, firstAxes(n)), -1)
	}
	y := tensor.New(dictElem(m, e), tensor.Shape{1, n})
	if len(m.Values) > 0 {
		vals, err := e.mapValues(m)
		if err != nil {
			return err
		}
		inverse := slices.Repeat([]int{-1}, n)
		for i, p := range places {
			if p >= 0 {
				inverse[p] = i
			}
		}
		e.pick(y, vals, 1, vals.Len(), 1, inverse)
	}
	e.SetOut(0, y)
	return nil
}

// dictElem returns the element type of a map's values; an empty map gives
// Float32 unless the result is declared otherwise.
func dictElem(m *tensor.Map, e *Eval) tensor.DType {
	if len(m.Values) > 0 {
		if t, ok := m.Values[0].(*tensor.Tensor); ok {
			return t.DType()
		}
	}
	if v := e.Node.Out(0); v != nil && v.Type != nil && v.Type.Elem.Valid() {
		return v.Type.Elem
	}
	return tensor.Float32
}

func inferDictVectorizer(c *Infer) error {
	n := max(len(c.Node.Ints("int64_vocabulary")), len(stringsAttr(&c.Call, "string_vocabulary")))
	elem := tensor.Undefined
	if t := c.In[0]; t != nil && t.Kind == graph.KindMap && t.Item != nil {
		elem = t.Item.Elem
	}
	if elem != tensor.Undefined {
		c.SetOut(0, elem, graph.Dims{graph.Known(1), graph.Known(n)})
	}
	return nil
}

// evalFeatureVectorizer joins rows of features; each input is cut or filled
// with zeros to the width that is stated for it.
func evalFeatureVectorizer(e *Eval) error {
	widths := toInts(e.Node.Ints("inputdimensions"))
	if len(widths) != len(e.In) {
		return fmt.Errorf("attribute inputdimensions has %d entries for %d inputs", len(widths), len(e.In))
	}
	parts := make([]*tensor.Tensor, len(e.In))
	for i := range e.In {
		x := e.Tensor(i)
		if x == nil || x.Rank() < 1 || x.Rank() > 2 || widths[i] < 0 || x.DType() == tensor.String {
			return e.Errorf(i, "want numbers with 1 or 2 axes")
		}
		if x.Rank() == 1 {
			x = x.Reshape(tensor.Shape{1, x.Len()})
		}
		x, err := tensor.Convert(x, tensor.Float32, false, tensor.RoundUp)
		if err != nil {
			return e.Errorf(i, "%w", err)
		}
		p := padding{[]int{0, 0}, []int{0, widths[i] - x.Shape()[1]}}
		if parts[i], err = e.pad(x, p, "constant", nil); err != nil {
			return e.Errorf(i, "%w", err)
		}
	}
	if len(parts) == 0 {
		return fmt.Errorf("no features are given")
	}
	y, err := e.concat(parts, 1)
	if err != nil {
		return err
	}
	e.SetOut(0, y)
	return nil
}

func inferFeatureVectorizer(c *Infer) error {
	sum := 0
	for _, n := range c.Node.Ints("inputdimensions") {
		sum += int(n)
	}
	c.SetOut(0, tensor.Float32, graph.Dims{c.batch(), graph.Known(max(0, sum))})
	return nil
}

func evalOneHotEncoder(e *Eval) error {
	x := e.Tensor(0)
	var places []int
	var n int
	if x.DType() == tensor.String {
		cats := stringsAttr(&e.Call, "cats_strings")
		n = len(cats)
		places = lookUp(x.Strings(), table(cats, firstAxes(n)), -1)
	} else {
		cats := e.Node.Ints("cats_int64s")
		n = len(cats)
		places = lookUp(tensor.Int64s(x), table(cats, firstAxes(n)), -1)
	}
	y := e.New(tensor.Float32, joinShapes(x.Shape(), tensor.Shape{n}))
	fill(y, nil)
	out := tensor.Data[float32](y)
	for i, p := range places {
		if p >= 0 {
			out[i*n+p] = 1
		} else if e.Node.Int("zeros", 1) == 0 {
			return e.Errorf(0, "element %d is in no category", i)
		}
	}
	e.SetOut(0, y)
	return nil
}

func inferOneHotEncoder(c *Infer) error {
	n := max(len(c.Node.Ints("cats_int64s")), len(stringsAttr(&c.Call, "cats_strings")))
	if in := c.Shape(0); in != nil {
		c.SetOut(0, tensor.Float32, joinDims(in, graph.Dims{graph.Known(n)}))
	} else {
		c.SetOut(0, tensor.Float32, nil)
	}
	return nil
}

// evalZipMap makes of each row of scores a map from class labels.
func evalZipMap(e *Eval) error {
	x := e.Tensor(0)
	labels := newClassLabels(&e.Call, "classlabels_int64s")
	rows, err := e.samples()
	if err != nil {
		return err
	}
	if rows.features != labels.len() {
		return e.Errorf(0, "%d scores for %d labels", rows.features, labels.len())
	}
	s := &tensor.Seq{}
	for i := range rows.n {
		m := &tensor.Map{Keys: labels.tensor(firstAxes(rows.features))}
		for j := range rows.features {
			one := e.narrow(x.Reshape(tensor.Shape{x.Len()}), 0, i*rows.features+j, 1)
			m.Values = append(m.Values, one.Reshape(tensor.Shape{}))
		}
		s.Items = append(s.Items, m)
	}
	e.SetOut(0, s)
	return nil
}

func inferZipMap(c *Infer) error {
	labels := newClassLabels(&c.Call, "classlabels_int64s")
	value := graph.TensorOf(tensor.Float32, graph.Dims{})
	c.SetType(0, graph.SequenceOf(&graph.Type{Kind: graph.KindMap, Elem: labels.dtype(), Item: value}))
	return nil
}
