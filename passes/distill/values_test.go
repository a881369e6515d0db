package distill_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
	"github.com/onnxpack/onnxpack/passes"
	"github.com/onnxpack/onnxpack/targets/engine"
)

// mapped returns a network whose hidden value h is [N,3,2,2] and whose logits
// are [N,3].
func mapped(t *testing.T, seed uint64) *graph.Model {
	t.Helper()
	m, err := graph.ParseModel(`<ir_version: 8, opset_import: ["": 17]>
		g (float[1, 2, 2, 2] x) => (float[1, 3] y)
		<float[3, 2, 1, 1] w = {1, 1, 1, 1, 1, 1}, float[3, 3] r = {1, 1, 1, 1, 1, 1, 1, 1, 1}> {
			h = Conv (x, w)
			p = GlobalAveragePool (h)
			f = Flatten (p)
			y = MatMul (f, r)
		}`)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	for _, v := range m.Graph.Inits() {
		w := tensor.New(tensor.Float32, v.Init.Shape())
		for i := range tensor.Data[float32](w) {
			tensor.Data[float32](w)[i] = float32(rng.NormFloat64())
		}
		m.Graph.SetInit(v, &graph.Literal{Tensor: w})
	}
	return m
}

// answers are the logits and hidden values of each sample.
type answers struct{ logits, hidden [][]float64 }

func answersOf(t *testing.T, m *graph.Model, data passes.Data) answers {
	t.Helper()
	s, err := engine.Compile(context.Background(), m, engine.Options{Outputs: []string{"h"}})
	if err != nil {
		t.Fatal(err)
	}
	var a answers
	for x, err := range data(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(context.Background(), x.Feeds)
		if err != nil {
			t.Fatal(err)
		}
		a.logits = append(a.logits, tensor.Float64s(out["y"].(*tensor.Tensor)))
		a.hidden = append(a.hidden, tensor.Float64s(out["h"].(*tensor.Tensor)))
	}
	return a
}

// TestValues compares the loss of the first step with what the papers'
// formulas give, computed here element by element.
func TestValues(t *testing.T) {
	teacher, student := mapped(t, 1), mapped(t, 2)
	data := unlabelled(t, teacher)
	z, want := answersOf(t, student, data), answersOf(t, teacher, data)
	for _, c := range []struct {
		options string
		want    float64
	}{
		{"kl:1;temperature:3", klByHand(z, want, 3)},
		{"kl:0;mse:2", 2 * meanSquareByHand(z.logits, want.logits)},
		{"kl:0;dkd:1;alpha:0.7;beta:5;temperature:2", dkdByHand(z, want, 0.7, 5, 2)},
		{"kl:0;rkd:1", rkdByHand(z.logits, want.logits)},
		{"kl:0;hidden:1;pairs:h", meanSquareByHand(z.hidden, want.hidden) / meanSquareByHand(want.hidden, nil)},
		{"kl:0;attention:1;pairs:h", attentionByHand(z.hidden, want.hidden)},
	} {
		t.Run(c.options, func(t *testing.T) {
			env := &passes.Env{Calibration: data, Models: map[string]*graph.Model{"teacher": teacher}}
			_, _, loss := distilled(t, fmt.Sprintf("epochs:1;batch:%d;held:0;lr:1e-9;%s", len(z.logits), c.options), student.Clone(), env)
			if math.Abs(loss[0]-c.want) > 1e-4*math.Abs(c.want) {
				t.Errorf("loss is %.6f, want %.6f", loss[0], c.want)
			}
		})
	}
}

// TestSeveralTeachers compares logits with the mean of those of two teachers.
func TestSeveralTeachers(t *testing.T) {
	one, two, student := mapped(t, 1), mapped(t, 3), mapped(t, 2)
	data := unlabelled(t, one)
	z, a, b := answersOf(t, student, data), answersOf(t, one, data), answersOf(t, two, data)
	for i := range a.logits {
		for k := range a.logits[i] {
			a.logits[i][k] = (a.logits[i][k] + b.logits[i][k]) / 2
		}
	}
	env := &passes.Env{Calibration: data, Models: map[string]*graph.Model{"teacher": one, "teacher 2": two, "other": student}}
	_, _, loss := distilled(t, fmt.Sprintf("epochs:1;batch:%d;held:0;lr:1e-9;kl:0;mse:1", len(z.logits)), student.Clone(), env)
	if want := meanSquareByHand(z.logits, a.logits); math.Abs(loss[0]-want) > 1e-4*want {
		t.Errorf("loss is %.6f, want %.6f", loss[0], want)
	}
}

// TestProjector compares three channels with two that span them: a projection
// is found that leaves no difference.
func TestProjector(t *testing.T) {
	teacher, student := mapped(t, 1), mapped(t, 2)
	g := student.Graph
	g.SetInit(g.Value("w"), &graph.Literal{Tensor: tensor.Of(tensor.Shape{2, 2, 1, 1}, []float32{1, 2, -1, 1})})
	g.SetInit(g.Value("r"), &graph.Literal{Tensor: tensor.Of(tensor.Shape{2, 3}, []float32{1, 0, 1, 0, 1, 1})})
	env := &passes.Env{Calibration: unlabelled(t, teacher), Models: map[string]*graph.Model{"teacher": teacher}}
	_, _, loss := distilled(t, "epochs:1;batch:48;held:0;kl:0;hidden:1;pairs:h;lr:1e-9", student, env)
	if loss[0] > 1e-4 {
		t.Errorf("loss is %.6f, want nearly 0", loss[0])
	}
}

func softmax(z []float64, temperature float64) []float64 {
	p := make([]float64, len(z))
	sum := 0.0
	for i, x := range z {
		p[i] = math.Exp(x / temperature)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func divergence(p, q []float64) float64 {
	sum := 0.0
	for i := range p {
		sum += p[i] * math.Log(p[i]/q[i])
	}
	return sum
}

func klByHand(z, t answers, temperature float64) float64 {
	sum := 0.0
	for i := range z.logits {
		sum += divergence(softmax(t.logits[i], temperature), softmax(z.logits[i], temperature))
	}
	return temperature * temperature * sum / float64(len(z.logits))
}

// meanSquareByHand is that of a-b, b being zeros if it is nil.
func meanSquareByHand(a, b [][]float64) float64 {
	sum, n := 0.0, 0
	for i := range a {
		for k, x := range a[i] {
			if b != nil {
				x -= b[i][k]
			}
			sum += x * x
			n++
		}
	}
	return sum / float64(n)
}

// dkdByHand takes the teacher's class for the right one.
func dkdByHand(z, t answers, alpha, beta, temperature float64) float64 {
	sum := 0.0
	for i := range z.logits {
		right := 0
		for k, x := range t.logits[i] {
			if x > t.logits[i][right] {
				right = k
			}
		}
		p, q := softmax(t.logits[i], temperature), softmax(z.logits[i], temperature)
		var others, othersOfStudent []float64
		for k := range p {
			if k != right {
				others = append(others, p[k]/(1-p[right]))
				othersOfStudent = append(othersOfStudent, q[k]/(1-q[right]))
			}
		}
		sum += alpha*divergence([]float64{p[right], 1 - p[right]}, []float64{q[right], 1 - q[right]}) +
			beta*divergence(others, othersOfStudent)
	}
	return temperature * temperature * sum / float64(len(z.logits))
}

func huber(d float64) float64 {
	if d = math.Abs(d); d < 1 {
		return d * d / 2
	}
	return d - 0.5
}

// rkdByHand compares distances, each over the mean of those between two
// different samples, and cosines of angles, which count twice.
func rkdByHand(z, t [][]float64) float64 {
	n := len(z)
	mean := func(x [][]float64) float64 {
		sum := 0.0
		for i := range x {
			for j := range x {
				sum += distance(x[i], x[j])
			}
		}
		return sum / float64(n*n-n)
	}
	mz, mt := mean(z), mean(t)
	distances, angles := 0.0, 0.0
	for i := range n {
		for j := range n {
			distances += huber(distance(z[i], z[j])/mz - distance(t[i], t[j])/mt)
			for k := range n {
				angles += huber(cosine(z[i], z[j], z[k]) - cosine(t[i], t[j], t[k]))
			}
		}
	}
	return distances/float64(n*n) + 2*angles/float64(n*n*n)
}

func distance(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		sum += (a[i] - b[i]) * (a[i] - b[i])
	}
	return math.Sqrt(sum)
}

// cosine is that of the angle at corner, 0 where one side has no length.
func cosine(corner, a, b []float64) float64 {
	la, lb := distance(a, corner), distance(b, corner)
	if la == 0 || lb == 0 {
		return 0
	}
	sum := 0.0
	for i := range corner {
		sum += (a[i] - corner[i]) * (b[i] - corner[i])
	}
	return sum / (la * lb)
}

// attentionByHand is of maps [3,2,2].
func attentionByHand(z, t [][]float64) float64 {
	look := func(x []float64) []float64 {
		a := make([]float64, 4)
		for i, v := range x {
			a[i%4] += v * v
		}
		length := distance(a, make([]float64, 4))
		for i := range a {
			a[i] /= length
		}
		return a
	}
	sum := 0.0
	for i := range z {
		d := distance(look(z[i]), look(t[i]))
		sum += d * d
	}
	return sum / float64(len(z))
}
