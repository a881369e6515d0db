package op

import (
	"fmt"
	"math"
	"slices"

	"github.com/onnxpack/onnxpack/graph/tensor"
)

// treeAttrs are the attributes that both forms of ensembles state for each
// node.
type treeAttrs struct {
	features, yes, no, nanYes []int64
	splits                    []float64
	modes                     []treeMode
}

// check compares the lengths of the lists; nanYes may be absent.
func (a *treeAttrs) check() error {
	n := len(a.modes)
	if len(a.features) != n || len(a.yes) != n || len(a.no) != n || len(a.splits) != n || len(a.nanYes) != 0 && len(a.nanYes) != n {
		return fmt.Errorf("the nodes have %d modes, %d features, %d values, %d and %d children and %d missing-value tracks",
			n, len(a.features), len(a.splits), len(a.yes), len(a.no), len(a.nanYes))
	}
	return nil
}

// node returns node i without children.
func (a *treeAttrs) node(i int) treeNode {
	n := treeNode{split: a.splits[i], feature: -1, mode: a.modes[i]}
	if f := a.features[i]; f >= 0 && f < math.MaxInt32 {
		n.feature = int32(f)
	}
	n.nanYes = len(a.nanYes) > 0 && a.nanYes[i] != 0
	return n
}

// nodeKey names a node of the older form.
type nodeKey struct{ tree, node int64 }

// newForest prepares the nodes of TreeEnsembleClassifier and -Regressor, in
// which leaves are nodes too. votes are the names of the attributes that give
// tree, node, target and weight of each vote.
func newForest(c *Call, votes [4]string, targets int) (*ensemble, error) {
	n := c.Node
	trees, ids := n.Ints("nodes_treeids"), n.Ints("nodes_nodeids")
	a := treeAttrs{
		features: n.Ints("nodes_featureids"), yes: n.Ints("nodes_truenodeids"), no: n.Ints("nodes_falsenodeids"),
		nanYes: n.Ints("nodes_missing_value_tracks_true"), splits: float64s(c, "nodes_values"),
	}
	if modes := n.Attr("nodes_modes"); modes != nil {
		for _, name := range modes.Strings {
			m, ok := treeModes[name]
			if !ok {
				return nil, fmt.Errorf("attribute nodes_modes has %q", name)
			}
			a.modes = append(a.modes, m)
		}
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	if len(trees) != len(a.modes) || len(ids) != len(a.modes) {
		return nil, fmt.Errorf("%d modes for %d tree ids and %d node ids", len(a.modes), len(trees), len(ids))
	}
	m := &ensemble{targets: targets, aggregate: treeSum, base: float64s(c, "base_values")}
	places, err := m.place(&a, trees, ids)
	if err != nil {
		return nil, err
	}
	if err := m.link(&a, trees, ids, places); err != nil {
		return nil, err
	}
	return m, m.castVotes(c, votes, places)
}

// place numbers interior nodes and leaves and finds the roots: the first node
// of each tree. Every node gets its number, leaves as the complement.
func (m *ensemble) place(a *treeAttrs, trees, ids []int64) (map[nodeKey]int32, error) {
	places := make(map[nodeKey]int32, len(ids))
	rooted := map[int64]bool{}
	leaves := int32(0)
	for i, mode := range a.modes {
		key := nodeKey{trees[i], ids[i]}
		if _, twice := places[key]; twice {
			return nil, fmt.Errorf("node %d of tree %d is there twice", key.node, key.tree)
		}
		p := int32(len(m.nodes))
		if mode == treeLeaf {
			p = ^leaves
			leaves++
		} else {
			m.nodes = append(m.nodes, a.node(i))
		}
		places[key] = p
		if !rooted[trees[i]] {
			rooted[trees[i]] = true
			m.roots = append(m.roots, p)
		}
	}
	m.leaves = make([]int32, leaves+1)
	return places, nil
}

// link connects interior nodes to their children.
func (m *ensemble) link(a *treeAttrs, trees, ids []int64, places map[nodeKey]int32) error {
	k := 0
	for i, mode := range a.modes {
		if mode == treeLeaf {
			continue
		}
		yes, okYes := places[nodeKey{trees[i], a.yes[i]}]
		no, okNo := places[nodeKey{trees[i], a.no[i]}]
		if !okYes || !okNo {
			return fmt.Errorf("node %d of tree %d leads to a node that is not there", ids[i], trees[i])
		}
		m.nodes[k].yes, m.nodes[k].no = yes, no
		k++
	}
	return nil
}

// castVotes sorts the votes by leaf.
func (m *ensemble) castVotes(c *Call, names [4]string, places map[nodeKey]int32) error {
	trees, nodes, targets := c.Node.Ints(names[0]), c.Node.Ints(names[1]), c.Node.Ints(names[2])
	weights := float64s(c, names[3])
	if n := len(weights); len(trees) != n || len(nodes) != n || len(targets) != n {
		return fmt.Errorf("%d weights for %d tree ids, %d node ids and %d targets", n, len(trees), len(nodes), len(targets))
	}
	byLeaf := make([][]treeVote, len(m.leaves)-1)
	for i, w := range weights {
		p, ok := places[nodeKey{trees[i], nodes[i]}]
		if !ok {
			return fmt.Errorf("a vote is cast by node %d of tree %d, which is not there", nodes[i], trees[i])
		}
		if p >= 0 {
			continue // interior nodes have no say
		}
		t := targets[i]
		if t < 0 || t >= int64(m.targets) {
			return fmt.Errorf("a vote is for target %d of %d", t, m.targets)
		}
		byLeaf[^p] = append(byLeaf[^p], treeVote{int32(t), w})
	}
	for i, v := range byLeaf {
		m.votes = append(m.votes, v...)
		m.leaves[i+1] = int32(len(m.votes))
	}
	return m.check()
}

func newTreeRegressor(c *Call) (*ensemble, error) {
	aggregates := map[string]treeAggregate{"AVERAGE": treeAverage, "SUM": treeSum, "MIN": treeMin, "MAX": treeMax}
	name := c.Node.Str("aggregate_function", "SUM")
	aggregate, ok := aggregates[name]
	if !ok {
		return nil, fmt.Errorf("attribute aggregate_function is %q, want AVERAGE, SUM, MIN or MAX", name)
	}
	targets := c.Node.Int("n_targets", 1)
	if targets < 1 || targets > math.MaxInt32 {
		return nil, fmt.Errorf("attribute n_targets is %d", targets)
	}
	m, err := newForest(c, [4]string{"target_treeids", "target_nodeids", "target_ids", "target_weights"}, int(targets))
	if err != nil {
		return nil, err
	}
	m.aggregate = aggregate
	m.post, err = postTransform(c)
	return m, err
}

func newTreeClassifier(c *Call) (*treeClassifier, error) {
	labels := newClassLabels(c, "classlabels_int64s")
	if labels.len() == 0 {
		return nil, fmt.Errorf("no class labels are given")
	}
	m, err := newForest(c, [4]string{"class_treeids", "class_nodeids", "class_ids", "class_weights"}, labels.len())
	if err != nil {
		return nil, err
	}
	t := &treeClassifier{ensemble: m, labels: labels, positive: true}
	ids := c.Node.Ints("class_ids")
	one := !slices.ContainsFunc(ids, func(id int64) bool { return id != ids[0] })
	if t.binary = labels.len() == 2 && one; t.binary && len(ids) > 0 {
		t.only = int(ids[0])
	}
	for _, w := range float64s(c, "class_weights") {
		t.positive = t.positive && w >= 0
	}
	m.post, err = postTransform(c)
	return t, err
}

// newTreeEnsemble prepares the form of version 5, in which leaves stand apart
// from nodes.
func newTreeEnsemble(c *Call) (*ensemble, error) {
	n := c.Node
	a := treeAttrs{
		features: n.Ints("nodes_featureids"), yes: n.Ints("nodes_truenodeids"), no: n.Ints("nodes_falsenodeids"),
		nanYes: n.Ints("nodes_missing_value_tracks_true"),
	}
	weights, splits, modes := tensorAttr(c, "leaf_weights"), tensorAttr(c, "nodes_splits"), tensorAttr(c, "nodes_modes")
	if weights == nil || splits == nil || modes == nil || modes.DType() != tensor.Uint8 {
		return nil, fmt.Errorf("want the tensor attributes leaf_weights, nodes_splits and nodes_modes (uint8)")
	}
	a.splits = tensor.Float64s(splits)
	for _, b := range modes.Bytes() {
		a.modes = append(a.modes, treeMode(b))
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	targets, aggregate, post := n.Int("n_targets", 1), n.Int("aggregate_function", 1), n.Int("post_transform", 0)
	if targets < 1 || targets > math.MaxInt32 || aggregate < 0 || aggregate > 3 || post < 0 || post > 4 {
		return nil, fmt.Errorf("attributes n_targets %d, aggregate_function %d, post_transform %d", targets, aggregate, post)
	}
	m := &ensemble{targets: int(targets), aggregate: treeAggregate(aggregate), post: scoreTransform(post)}
	if err := m.setLeaves(n.Ints("leaf_targetids"), tensor.Float64s(weights)); err != nil {
		return nil, err
	}
	yesLeaf, noLeaf := n.Ints("nodes_trueleafs"), n.Ints("nodes_falseleafs")
	if len(yesLeaf) != len(a.modes) || len(noLeaf) != len(a.modes) {
		return nil, fmt.Errorf("%d nodes with %d and %d leaf marks", len(a.modes), len(yesLeaf), len(noLeaf))
	}
	for i := range a.modes {
		k := a.node(i)
		k.yes, k.no = treeChild(a.yes[i], yesLeaf[i]), treeChild(a.no[i], noLeaf[i])
		m.nodes = append(m.nodes, k)
	}
	if err := m.setMembers(tensorAttr(c, "membership_values")); err != nil {
		return nil, err
	}
	for _, r := range n.Ints("tree_roots") {
		m.roots = append(m.roots, treeChild(r, 0))
	}
	return m, m.check()
}

// treeChild returns the number of a child: a leaf's is the complement. One
// that cannot be is beyond every list.
func treeChild(id, leaf int64) int32 {
	switch {
	case id < 0 || id >= math.MaxInt32:
		return math.MaxInt32
	case leaf != 0:
		return ^int32(id)
	}
	return int32(id)
}

// setLeaves makes leaves of one vote each.
func (m *ensemble) setLeaves(targets []int64, weights []float64) error {
	if len(targets) != len(weights) {
		return fmt.Errorf("%d leaf weights for %d targets", len(weights), len(targets))
	}
	m.leaves = make([]int32, len(weights)+1)
	for i, w := range weights {
		if targets[i] < 0 || targets[i] >= int64(m.targets) {
			return fmt.Errorf("leaf %d votes for target %d of %d", i, targets[i], m.targets)
		}
		m.votes = append(m.votes, treeVote{int32(targets[i]), w})
		m.leaves[i+1] = int32(i + 1)
	}
	return nil
}

// setMembers gives each membership node, in order, its set: values up to the
// next NaN.
func (m *ensemble) setMembers(values *tensor.Tensor) error {
	sets := []map[float64]bool{}
	if values != nil {
		set := map[float64]bool{}
		for _, v := range tensor.Float64s(values) {
			if math.IsNaN(v) {
				sets, set = append(sets, set), map[float64]bool{}
				continue
			}
			set[v] = true
		}
	}
	for i := range m.nodes {
		if n := &m.nodes[i]; n.mode == treeMember {
			n.set = int32(len(m.members))
			if len(m.members) == len(sets) {
				return fmt.Errorf("attribute membership_values has %d sets, too few", len(sets))
			}
			m.members = append(m.members, sets[len(m.members)])
		}
	}
	return nil
}
