package op

import (
	"fmt"
	"math"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

// svm is a support vector machine prepared for evaluation.
type svm struct {
	kernel              string
	gamma, coef0        float64
	degree              float64
	coef, vectors, rho  []float64
	supports            int // number of support vectors, 0 for a linear model
	probA, probB        []float64
	perClass, classFrom []int
	post                scoreTransform
}

func newSVM(c *Call) (*svm, error) {
	m := &svm{
		kernel: c.Node.Str("kernel_type", "LINEAR"),
		coef:   float64s(c, "coefficients"), vectors: float64s(c, "support_vectors"), rho: float64s(c, "rho"),
		probA: float64s(c, "prob_a"), probB: float64s(c, "prob_b"),
		perClass: toInts(c.Node.Ints("vectors_per_class")),
	}
	switch m.kernel {
	case "LINEAR", "POLY", "RBF", "SIGMOID":
	default:
		return nil, fmt.Errorf("attribute kernel_type is %q, want LINEAR, POLY, RBF or SIGMOID", m.kernel)
	}
	if p := float64s(c, "kernel_params"); len(p) == 3 {
		m.gamma, m.coef0, m.degree = p[0], p[1], p[2]
	} else if len(p) != 0 {
		return nil, fmt.Errorf("attribute kernel_params has %d entries, want 3", len(p))
	}
	if len(m.rho) == 0 || len(m.coef) == 0 {
		return nil, fmt.Errorf("want the attributes rho and coefficients")
	}
	if len(m.probA) != len(m.probB) {
		return nil, fmt.Errorf("attributes prob_a and prob_b have %d and %d entries", len(m.probA), len(m.probB))
	}
	var err error
	m.post, err = postTransform(c)
	return m, err
}

// between returns the kernel function of two vectors of one length.
func (m *svm) between(x, y []float64) float64 {
	sum := 0.0
	if m.kernel == "RBF" {
		for i, v := range x {
			d := v - y[i]
			sum += d * d
		}
		return math.Exp(-m.gamma * sum)
	}
	for i, v := range x {
		sum += v * y[i]
	}
	switch m.kernel {
	case "POLY":
		return math.Pow(m.gamma*sum+m.coef0, m.degree)
	case "SIGMOID":
		return math.Tanh(m.gamma*sum + m.coef0)
	}
	return sum
}

// kernels returns the kernel function of x with every support vector.
func (m *svm) kernels(x []float64) []float64 {
	n := len(x)
	out := make([]float64, m.supports)
	for j := range out {
		out[j] = m.between(x, m.vectors[j*n:(j+1)*n])
	}
	return out
}

// checkFeatures compares the length of samples with that of the vectors.
func (m *svm) checkFeatures(e *Eval, x samples, rows int) error {
	if m.supports > 0 {
		if len(m.vectors) != m.supports*x.features {
			return e.Errorf(0, "%d values of %d support vectors for %d features", len(m.vectors), m.supports, x.features)
		}
		return nil
	}
	if len(m.coef) != rows*x.features {
		return e.Errorf(0, "%d coefficients of %d rows for %d features", len(m.coef), rows, x.features)
	}
	return nil
}

func evalSVMRegressor(e *Eval) error {
	m, err := newSVM(&e.Call)
	if err != nil {
		return err
	}
	x, err := e.samples()
	if err != nil {
		return err
	}
	if m.supports = int(e.Node.Int("n_supports", 0)); m.supports < 0 {
		return fmt.Errorf("attribute n_supports is %d", m.supports)
	}
	if m.supports == 0 {
		m.kernel = "LINEAR"
	}
	if err := m.checkFeatures(e, x, 1); err != nil {
		return err
	}
	if m.supports > 0 && len(m.coef) != m.supports {
		return fmt.Errorf("attribute coefficients has %d entries, want %d", len(m.coef), m.supports)
	}
	oneClass := e.Node.Int("one_class", 0) != 0
	out := make([]float64, x.n)
	for i := range out {
		sum := m.rho[0]
		if m.supports == 0 {
			sum += m.between(x.row(i), m.coef)
		}
		for j, k := range m.kernels(x.row(i)) {
			sum += m.coef[j] * k
		}
		switch {
		case oneClass && sum > 0:
			sum = 1
		case oneClass:
			sum = -1
		case m.post == scoreProbit:
			sum = probit(sum)
		}
		out[i] = sum
	}
	e.SetOut(0, tensor.FromFloat64s(tensor.Float32, tensor.Shape{x.n, 1}, out))
	return nil
}

func inferSVMRegressor(c *Infer) error {
	c.SetOut(0, tensor.Float32, graph.Dims{c.batch(), graph.Known(1)})
	return nil
}

// svmClassifier is a machine with labels: one against one where it has
// support vectors, one linear function for each class where it has none.
type svmClassifier struct {
	*svm
	labels   classLabels
	classes  int
	positive bool // no coefficient is negative
}

func newSVMClassifier(c *Call) (*svmClassifier, error) {
	m, err := newSVM(c)
	if err != nil {
		return nil, err
	}
	s := &svmClassifier{svm: m, labels: newClassLabels(c, "classlabels_ints"), positive: true}
	s.classes = max(s.labels.len(), 1)
	for _, n := range m.perClass {
		m.classFrom = append(m.classFrom, m.supports)
		if n < 0 || m.supports+n < m.supports {
			return nil, fmt.Errorf("attribute vectors_per_class has %d", n)
		}
		m.supports += n
	}
	for _, w := range m.coef {
		s.positive = s.positive && w >= 0
	}
	if m.supports == 0 {
		m.kernel = "LINEAR"
		return s, nil
	}
	pairs := s.classes * (s.classes - 1) / 2
	switch {
	case len(m.perClass) != s.classes:
		return nil, fmt.Errorf("attribute vectors_per_class has %d entries for %d classes", len(m.perClass), s.classes)
	case len(m.coef) != (s.classes-1)*m.supports:
		return nil, fmt.Errorf("attribute coefficients has %d entries for %d classes and %d vectors", len(m.coef), s.classes, m.supports)
	case len(m.rho) < pairs || len(m.probA) != 0 && len(m.probA) < pairs:
		return nil, fmt.Errorf("attributes rho and prob_a have %d and %d entries for %d pairs of classes", len(m.rho), len(m.probA), pairs)
	}
	return s, nil
}

func evalSVMClassifier(e *Eval) error {
	m, err := newSVMClassifier(&e.Call)
	if err != nil {
		return err
	}
	x, err := e.samples()
	if err != nil {
		return err
	}
	if err := m.checkFeatures(e, x, m.classes); err != nil {
		return err
	}
	classes, width := make([]int, x.n), m.width()
	scores := make([]float64, x.n*width)
	e.Parallel(x.n, 16, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			var s []float64
			classes[i], s = m.classify(x.row(i))
			copy(scores[i*width:], s)
		}
	})
	e.SetOut(0, m.labels.tensor(classes))
	e.SetOut(1, tensor.FromFloat64s(tensor.Float32, tensor.Shape{x.n, width}, scores))
	return nil
}

// width is the number of scores for each sample.
func (m *svmClassifier) width() int {
	switch {
	case m.supports == 0 || len(m.probA) > 0:
		return m.classes
	case m.classes == 2:
		return 2
	}
	return m.classes * (m.classes - 1) / 2
}

// classify returns the class of a sample and its scores.
func (m *svmClassifier) classify(x []float64) (class int, scores []float64) {
	var votes []float64
	if m.supports == 0 {
		scores = make([]float64, m.classes)
		for j := range scores {
			scores[j] = m.rho[0] + m.between(x, m.coef[j*len(x):(j+1)*len(x)])
		}
		class = argmax(scores)
	} else {
		votes, scores = m.compare(x)
		class = argmax(votes)
	}
	proba := m.supports > 0 && len(m.probA) > 0
	if proba {
		scores = m.probabilities(scores)
	}
	if len(m.rho) == 1 && m.classes <= 2 {
		class = m.binaryClass(class, votes, scores, proba)
	}
	if len(scores) == 1 && m.classes == 2 {
		scores = mirrored(scores)
	}
	m.post.apply(scores)
	return class, scores
}

// binaryClass is the class under a single decision function.
func (m *svmClassifier) binaryClass(class int, votes, scores []float64, proba bool) int {
	weight := scores[class%len(scores)]
	if votes != nil {
		weight = votes[class]
	}
	switch {
	case m.labels.len() == 2:
		if !proba && m.positive && weight >= 0.5 {
			return 1
		}
		return class
	case weight > 0:
		return 1
	}
	return 0
}

// compare lets every pair of classes decide and counts the votes.
func (m *svmClassifier) compare(x []float64) (votes, scores []float64) {
	k := m.kernels(x)
	votes = make([]float64, m.classes)
	for i := range m.classes {
		for j := i + 1; j < m.classes; j++ {
			s := m.rho[len(scores)] + m.part(k, j-1, i) + m.part(k, i, j)
			if s > 0 {
				votes[i]++
			} else {
				votes[j]++
			}
			scores = append(scores, s)
		}
	}
	return votes, scores
}

// part is the sum over the vectors of a class weighted by a row of
// coefficients.
func (m *svmClassifier) part(k []float64, row, class int) float64 {
	from, sum := m.classFrom[class], 0.0
	for v := from; v < from+m.perClass[class]; v++ {
		sum += m.coef[row*m.supports+v] * k[v]
	}
	return sum
}

// probabilities couples the pairwise probabilities that Platt's sigmoids give
// (Wu, Lin and Weng 2004, second method, as in libsvm).
func (m *svmClassifier) probabilities(scores []float64) []float64 {
	const least = 1e-7
	n := m.classes
	r := make([][]float64, n)
	for i := range r {
		r[i] = make([]float64, n)
	}
	at := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			p := 1 / (1 + math.Exp(scores[at]*m.probA[at]+m.probB[at]))
			r[i][j] = min(max(p, least), 1-least)
			r[j][i] = 1 - r[i][j]
			at++
		}
	}
	return couple(r)
}

// couple returns class probabilities p with p[i] r[j][i] near p[j] r[i][j],
// by the fixed-point iteration on Q p.
func couple(r [][]float64) []float64 {
	n := len(r)
	q := make([][]float64, n)
	p, qp := make([]float64, n), make([]float64, n)
	for t := range n {
		q[t] = make([]float64, n)
		p[t] = 1 / float64(n)
		for j := range n {
			if j != t {
				q[t][t] += r[j][t] * r[j][t]
				q[t][j] = -r[j][t] * r[t][j]
			}
		}
	}
	for range max(100, n) {
		pqp, worst := 0.0, 0.0
		for t := range n {
			qp[t] = 0
			for j := range n {
				qp[t] += q[t][j] * p[j]
			}
			pqp += p[t] * qp[t]
		}
		for t := range n {
			worst = max(worst, math.Abs(qp[t]-pqp))
		}
		if worst < 0.005/float64(n) {
			break
		}
		for t := range n {
			d := (pqp - qp[t]) / q[t][t]
			p[t] += d
			pqp = (pqp + d*(d*q[t][t]+2*qp[t])) / ((1 + d) * (1 + d))
			for j := range n {
				qp[j] = (qp[j] + d*q[t][j]) / (1 + d)
				p[j] /= 1 + d
			}
		}
	}
	return p
}

func inferSVMClassifier(c *Infer) error {
	labels := newClassLabels(&c.Call, "classlabels_ints")
	c.classifierTypes(labels)
	if m, err := newSVMClassifier(&c.Call); err == nil {
		c.SetOut(1, tensor.Float32, graph.Dims{c.batch(), graph.Known(m.width())})
	}
	return nil
}
