package op

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// textDefs holds operators over strings.
var textDefs = []*Def{
	{Name: "RegexFullMatch", Since: 20, Infer: inferRegexFullMatch, Eval: evalRegexFullMatch},
	{Name: "StringConcat", Since: 20, Infer: inferBroadcast, Eval: evalStringConcat},
	{Name: "StringNormalizer", Since: 10, Infer: inferStringNormalizer, Eval: evalStringNormalizer},
	{Name: "StringSplit", Since: 20, Infer: inferStringSplit, Eval: evalStringSplit},
	{Name: "TfIdfVectorizer", Since: 9, Infer: inferTfIdf, Eval: evalTfIdf},
}

// texts returns the elements of input i, which must be strings.
func (e *Eval) texts(i int) ([]string, error) {
	t := e.Tensor(i)
	if t == nil || t.DType() != tensor.String {
		return nil, e.Errorf(i, "want strings")
	}
	return t.Strings(), nil
}

func evalStringConcat(e *Eval) error {
	for i := range 2 {
		if _, err := e.texts(i); err != nil {
			return err
		}
	}
	out, err := tensor.Broadcast(e.Tensor(0).Shape(), e.Tensor(1).Shape())
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		return err
	}
	a, b := e.broadcast(e.Tensor(0), out).Strings(), e.broadcast(e.Tensor(1), out).Strings()
	y := tensor.New(tensor.String, out)
	for i, s := range a {
		y.Strings()[i] = s + b[i]
	}
	e.SetOut(0, y)
	return nil
}

// evalRegexFullMatch takes the pattern in RE2's syntax, which is that of Go.
func evalRegexFullMatch(e *Eval) error {
	texts, err := e.texts(0)
	if err != nil {
		return err
	}
	re, err := regexp.Compile(`\A(?:` + e.Node.Str("pattern", "") + `)\z`)
	if err != nil {
		return fmt.Errorf("attribute pattern: %w", err)
	}
	out := make([]bool, len(texts))
	for i, s := range texts {
		out[i] = re.MatchString(s)
	}
	e.SetOut(0, tensor.Of(e.Tensor(0).Shape(), out))
	return nil
}

func inferRegexFullMatch(c *Infer) error {
	c.SetOut(0, tensor.Bool, c.Shape(0))
	return nil
}

// evalStringSplit splits each string and fills up the rows of parts with
// empty strings to one length.
func evalStringSplit(e *Eval) error {
	texts, err := e.texts(0)
	if err != nil {
		return err
	}
	limit := -1
	if e.Node.Attr("maxsplit") != nil {
		limit = int(e.Node.Int("maxsplit", -1))
	}
	delimiter := e.Node.Str("delimiter", "")
	parts, counts, width := make([][]string, len(texts)), make([]int64, len(texts)), 0
	for i, s := range texts {
		if delimiter == "" {
			parts[i] = splitSpace(s, limit)
		} else {
			parts[i] = strings.SplitN(s, delimiter, splitCount(limit))
		}
		counts[i] = int64(len(parts[i]))
		width = max(width, len(parts[i]))
	}
	shape := e.Tensor(0).Shape()
	y := tensor.New(tensor.String, append(shape.Clone(), width))
	for i, p := range parts {
		copy(y.Strings()[i*width:], p)
	}
	e.SetOut(0, y)
	e.SetOut(1, tensor.Of(shape, counts))
	return nil
}

// splitCount turns a number of splits, negative for all, into the number of
// parts that strings.SplitN wants.
func splitCount(limit int) int {
	if limit < 0 {
		return -1
	}
	return limit + 1
}

// splitSpace splits at runs of white space, at most limit times if that is
// not negative. White space around the text and before the rest is dropped.
func splitSpace(s string, limit int) []string {
	var parts []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		i := strings.IndexFunc(s, isSpace)
		if i < 0 || len(parts) == limit {
			return append(parts, s)
		}
		parts, s = append(parts, s[:i]), s[i:]
	}
	return parts
}

func isSpace(r rune) bool { return strings.TrimSpace(string(r)) == "" }

func inferStringSplit(c *Infer) error {
	in := c.Shape(0)
	var out graph.Dims
	if in != nil {
		out = append(slices.Clone(in), graph.Unknown())
	}
	c.SetOut(0, tensor.String, out)
	c.SetOut(1, tensor.Int64, in)
	return nil
}

// evalStringNormalizer drops stop words and changes the case of what is left;
// nothing left gives one empty string.
func evalStringNormalizer(e *Eval) error {
	texts, err := e.texts(0)
	if err != nil {
		return err
	}
	shape := e.Tensor(0).Shape()
	if len(shape) != 1 && (len(shape) != 2 || shape[0] != 1) {
		return e.Errorf(0, "want shape [C] or [1,C]")
	}
	change, err := caseChange(e.Node.Str("case_change_action", "NONE"))
	if err != nil {
		return err
	}
	fold := func(s string) string { return s }
	if e.Node.Int("is_case_sensitive", 0) == 0 {
		fold = strings.ToLower
	}
	stop := map[string]bool{}
	for _, w := range stringsAttr(&e.Call, "stopwords") {
		stop[fold(w)] = true
	}
	var kept []string
	for _, s := range texts {
		if !stop[fold(s)] {
			kept = append(kept, change(s))
		}
	}
	if len(kept) == 0 {
		kept = []string{""}
	}
	out := shape.Clone()
	out[len(out)-1] = len(kept)
	e.SetOut(0, tensor.OfStrings(out, kept))
	return nil
}

func caseChange(action string) (func(string) string, error) {
	switch action {
	case "NONE":
		return func(s string) string { return s }, nil
	case "LOWER":
		return strings.ToLower, nil
	case "UPPER":
		return strings.ToUpper, nil
	}
	return nil, fmt.Errorf("attribute case_change_action is %q, want NONE, LOWER or UPPER", action)
}

func inferStringNormalizer(c *Infer) error {
	in := slices.Clone(c.Shape(0))
	if len(in) > 0 {
		in[len(in)-1] = graph.Unknown()
	}
	c.SetOut(0, tensor.String, in)
	return nil
}
