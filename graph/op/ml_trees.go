package op

import (
	"fmt"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// mlTreesDefs holds tree ensembles of ai.onnx.ml.
var mlTreesDefs = []*Def{
	{Domain: mlDomain, Name: "TreeEnsemble", Since: 5, Infer: inferTreeEnsemble, Eval: evalTreeEnsemble},
	{Domain: mlDomain, Name: "TreeEnsembleClassifier", Since: 1, Infer: inferTreeClassifier, Eval: evalTreeClassifier},
	{Domain: mlDomain, Name: "TreeEnsembleRegressor", Since: 1, Infer: inferTreeRegressor, Eval: evalTreeRegressor},
}

// treeMode is the comparison that a node makes, with ONNX's numbers.
type treeMode uint8

const (
	treeLEQ treeMode = iota
	treeLT
	treeGTE
	treeGT
	treeEQ
	treeNEQ
	treeMember
	treeLeaf
)

var treeModes = map[string]treeMode{
	"BRANCH_LEQ": treeLEQ, "BRANCH_LT": treeLT, "BRANCH_GTE": treeGTE, "BRANCH_GT": treeGT,
	"BRANCH_EQ": treeEQ, "BRANCH_NEQ": treeNEQ, "LEAF": treeLeaf,
}

// treeNode is an interior node: it sends a sample to yes if feature compares
// with split, else to no. A child below zero is the complement of a leaf.
type treeNode struct {
	split   float64
	feature int32
	yes, no int32
	mode    treeMode
	nanYes  bool  // a NaN goes to yes
	set     int32 // of treeMember: which set of members
}

// treeVote is what a leaf adds to one target.
type treeVote struct {
	target int32
	weight float64
}

// treeAggregate says how the leaves of all trees become one value.
type treeAggregate uint8

const (
	treeAverage treeAggregate = iota
	treeSum
	treeMin
	treeMax
)

// ensemble is a tree ensemble prepared for evaluation. It depends on
// attributes only, and may be kept and shared.
type ensemble struct {
	nodes     []treeNode
	roots     []int32
	leaves    []int32 // votes of leaf i are votes[leaves[i]:leaves[i+1]]
	votes     []treeVote
	members   []map[float64]bool
	targets   int
	features  int // one more than the highest feature that is read
	aggregate treeAggregate
	base      []float64
	post      scoreTransform
}

// check makes sure that every walk from a root ends at a leaf, and that
// leaves vote for targets there are.
func (m *ensemble) check() error {
	const open, done = 1, 2
	state := make([]uint8, len(m.nodes))
	var walk func(k int32) error
	walk = func(k int32) error {
		if k < 0 {
			if int(^k) >= len(m.leaves)-1 {
				return fmt.Errorf("a tree leads to leaf %d of %d", ^k, len(m.leaves)-1)
			}
			return nil
		}
		if int(k) >= len(m.nodes) {
			return fmt.Errorf("a tree leads to node %d of %d", k, len(m.nodes))
		}
		switch state[k] {
		case open:
			return fmt.Errorf("a tree comes back to node %d", k)
		case done:
			return nil
		}
		state[k] = open
		n := &m.nodes[k]
		if n.feature < 0 || n.mode > treeMember {
			return fmt.Errorf("node %d has feature %d and mode %d", k, n.feature, n.mode)
		}
		m.features = max(m.features, int(n.feature)+1)
		if err := walk(n.yes); err != nil {
			return err
		}
		if err := walk(n.no); err != nil {
			return err
		}
		state[k] = done
		return nil
	}
	for _, r := range m.roots {
		if err := walk(r); err != nil {
			return err
		}
	}
	for _, v := range m.votes {
		if v.target < 0 || int(v.target) >= m.targets {
			return fmt.Errorf("a leaf votes for target %d of %d", v.target, m.targets)
		}
	}
	if n := len(m.base); n > 1 && n != m.targets {
		return fmt.Errorf("%d base values for %d targets", n, m.targets)
	}
	return nil
}

// leaf returns the leaf that a sample reaches from a root.
func (m *ensemble) leaf(k int32, x []float64) int32 {
	for k >= 0 {
		n := &m.nodes[k]
		v := x[n.feature]
		var yes bool
		switch n.mode {
		case treeLEQ:
			yes = v <= n.split
		case treeLT:
			yes = v < n.split
		case treeGTE:
			yes = v >= n.split
		case treeGT:
			yes = v > n.split
		case treeEQ:
			yes = v == n.split
		case treeNEQ:
			yes = v != n.split
		case treeMember:
			yes = m.members[n.set][v]
		}
		if yes || n.nanYes && v != v {
			k = n.yes
		} else {
			k = n.no
		}
	}
	return ^k
}

// scores computes the aggregated votes, [n, targets], before base values; 0
// for a target that no leaf of a sample votes for.
func (m *ensemble) scores(e *Eval, x samples) []float64 {
	scores, voted := make([]float64, x.n*m.targets), make([]bool, x.n*m.targets)
	const block = 32 // samples that pass a tree together, while it is in cache
	e.Parallel(x.n, block, func(lo, hi int) {
		for b := lo; b < hi; b += block {
			for _, root := range m.roots {
				for i := b; i < min(b+block, hi); i++ {
					at := i * m.targets
					m.vote(m.leaf(root, x.row(i)), scores[at:at+m.targets], voted[at:at+m.targets])
				}
			}
		}
	})
	if m.aggregate == treeAverage {
		for i := range scores {
			scores[i] /= float64(len(m.roots))
		}
	}
	return scores
}

func (m *ensemble) vote(leaf int32, scores []float64, voted []bool) {
	for _, v := range m.votes[m.leaves[leaf]:m.leaves[leaf+1]] {
		s := &scores[v.target]
		switch {
		case m.aggregate == treeSum || m.aggregate == treeAverage:
			*s += v.weight
		case !voted[v.target]:
			*s = v.weight
		case m.aggregate == treeMin:
			*s = min(*s, v.weight)
		default:
			*s = max(*s, v.weight)
		}
		voted[v.target] = true
	}
}

// regress sets result 0 to the scores with base values and the transform.
func (m *ensemble) regress(e *Eval, d tensor.DType) error {
	x, err := e.samples()
	if err != nil {
		return err
	}
	if x.features < m.features {
		return e.Errorf(0, "the trees read %d features", m.features)
	}
	scores := m.scores(e, x)
	post := m.post
	if m.targets == 1 {
		post = post.single()
	}
	for i := range x.n {
		row := scores[i*m.targets : (i+1)*m.targets]
		for j := range row {
			if len(m.base) > 0 {
				row[j] += m.base[j%len(m.base)]
			}
		}
		post.apply(row)
	}
	e.SetOut(0, tensor.FromFloat64s(d, tensor.Shape{x.n, m.targets}, scores))
	return nil
}

func evalTreeEnsemble(e *Eval) error {
	m, err := newTreeEnsemble(&e.Call)
	if err != nil {
		return err
	}
	return m.regress(e, e.Tensor(0).DType())
}

func evalTreeRegressor(e *Eval) error {
	m, err := newTreeRegressor(&e.Call)
	if err != nil {
		return err
	}
	return m.regress(e, tensor.Float32)
}

// treeClassifier is an ensemble with labels.
type treeClassifier struct {
	*ensemble
	labels   classLabels
	binary   bool // two classes, all votes for one of them:
	only     int  // that class
	positive bool // no weight is negative
}

func evalTreeClassifier(e *Eval) error {
	m, err := newTreeClassifier(&e.Call)
	if err != nil {
		return err
	}
	x, err := e.samples()
	if err != nil {
		return err
	}
	if x.features < m.features {
		return e.Errorf(0, "the trees read %d features", m.features)
	}
	if e.Tensor(0).DType() != tensor.Float64 {
		for i, v := range x.data { // integers are read as float32
			x.data[i] = float64(float32(v))
		}
	}
	scores := m.scores(e, x)
	classes := make([]int, x.n)
	for i := range x.n {
		classes[i] = m.finish(scores[i*m.targets : (i+1)*m.targets])
	}
	e.SetOut(0, m.labels.tensor(classes))
	e.SetOut(1, tensor.FromFloat64s(tensor.Float32, tensor.Shape{x.n, m.targets}, scores))
	return nil
}

// finish adds base values to the scores of one sample, transforms them, and
// returns its class.
func (m *treeClassifier) finish(s []float64) int {
	for j, x := range s {
		s[j] = float64(float32(x))
	}
	if m.binary {
		return m.finishBinary(s)
	}
	for j := range s {
		if len(m.base) > 0 {
			s[j] += m.base[j%len(m.base)]
		}
	}
	if len(s) == 1 {
		if s[0] > 0 {
			return 1
		}
		return 0
	}
	class := argmax(s)
	m.post.apply(s)
	return class
}

// finishBinary is finish for two classes of which only one gets votes. Its
// score decides: against one half if no weight is negative, else against
// zero. That of the first class is spread over both unless each has a base
// value. (The specification leaves this open; ONNX Runtime does so.)
func (m *treeClassifier) finishBinary(s []float64) int {
	class, threshold := 0, 0.0
	if m.positive {
		threshold = 0.5
	}
	if len(m.base) > 0 && (m.only == 0 || len(m.base) == 2) {
		s[m.only] = float64(float32(s[m.only] + m.base[m.only]))
	}
	if s[m.only] > threshold {
		class = 1
	}
	if m.only == 0 && len(m.base) < 2 {
		m.spread(s)
	} else {
		m.post.apply(s)
	}
	return class
}

// spread makes the scores of two classes from one; a softmax of both is not
// taken.
func (m *treeClassifier) spread(s []float64) {
	score := s[0]
	switch {
	case m.post == scoreProbit:
		s[0], s[1] = probit(score), 0
	case m.post == scoreLogistic:
		s[0], s[1] = -score, score
		m.post.apply(s)
	case m.positive:
		s[0], s[1] = 1-score, score
	default:
		s[0], s[1] = -score, score
	}
}

func inferTreeEnsemble(c *Infer) error {
	n := c.Node.Int("n_targets", 1)
	c.SetOut(0, c.Elem(0), graph.Dims{c.batch(), graph.Known(int(n))})
	return nil
}

func inferTreeRegressor(c *Infer) error {
	n := c.Node.Int("n_targets", 1)
	c.SetOut(0, tensor.Float32, graph.Dims{c.batch(), graph.Known(int(n))})
	return nil
}

func inferTreeClassifier(c *Infer) error {
	c.classifierTypes(newClassLabels(&c.Call, "classlabels_int64s"))
	return nil
}

// classifierTypes states the types of labels and scores.
func (c *Infer) classifierTypes(l classLabels) {
	c.SetOut(0, l.dtype(), graph.Dims{c.batch()})
	c.SetOut(1, tensor.Float32, graph.Dims{c.batch(), graph.Known(max(l.len(), 1))})
}
