package train

import (
	"fmt"
	"math"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
)

// TestLabelled compares the loss of the first step with its formula, computed
// here element by element.
func TestLabelled(t *testing.T) {
	w := [2][3]float64{{0.5, -1, 2}, {-0.25, 1.5, 0.75}}
	data := rings(12, 4)
	for _, c := range []struct {
		loss, activation string
		of               func(z, y []float64) float64 // of one sample with targets y
	}{
		{"cross-entropy", "Softmax", func(z, y []float64) float64 { return crossEntropyByHand(z, y) }},
		{"kl", "Softmax", func(z, y []float64) float64 { return crossEntropyByHand(z, y) - crossEntropyByHand(logs(y), y) }},
		{"bce", "Sigmoid", func(z, y []float64) float64 {
			return meanOver(z, y, func(z, y float64) float64 {
				p := 1 / (1 + math.Exp(-z))
				return -y*math.Log(p) - (1-y)*math.Log(1-p)
			})
		}},
		{"mse", "Identity", func(z, y []float64) float64 {
			return meanOver(z, y, func(z, y float64) float64 { return (z - y) * (z - y) })
		}},
		{"l1", "Identity", func(z, y []float64) float64 {
			return meanOver(z, y, func(z, y float64) float64 { return math.Abs(z - y) })
		}},
		{"huber", "Identity", func(z, y []float64) float64 {
			return meanOver(z, y, func(z, y float64) float64 {
				if d := math.Abs(z - y); d >= 1 {
					return d - 0.5
				}
				return (z - y) * (z - y) / 2
			})
		}},
	} {
		t.Run(c.loss, func(t *testing.T) {
			m, err := graph.ParseModel(fmt.Sprintf(`<ir_version: 8, opset_import: ["": 13]> g (float[1, 2] x) => (float[1, 3] y)
				<float[2, 3] w = {0.5, -1, 2, -0.25, 1.5, 0.75}> { z = MatMul (x, w)  y = %s (z) }`, c.activation))
			if err != nil {
				t.Fatal(err)
			}
			const smoothing = 0.3 // targets are 0.8 and 0.1
			o := Defaults()
			o.Epochs, o.Batch, o.Rate = 1, data.Len(), 1e-9
			r := run(t, Task{Model: m, Data: data, Loss: []Term{Labelled(c.loss, "y", smoothing)}, Options: o})
			want := 0.0
			for i := range data.Len() {
				s := sampleAt(t, data, i)
				x, z, y := pointOf(s), make([]float64, 3), []float64{0.1, 0.1, 0.1}
				y[s.Label] = 0.8
				for k := range z {
					z[k] = float64(x[0])*w[0][k] + float64(x[1])*w[1][k]
				}
				want += c.of(z, y) / float64(data.Len())
			}
			if got := r.Curve[0].Loss; math.Abs(got-want) > 1e-5*(1+want) {
				t.Errorf("loss is %.6f, want %.6f", got, want)
			}
		})
	}
}

// crossEntropyByHand is that of softmax(z) for the distribution y.
func crossEntropyByHand(z, y []float64) float64 {
	sum, loss := 0.0, 0.0
	for _, v := range z {
		sum += math.Exp(v)
	}
	for i, v := range z {
		loss -= y[i] * (v - math.Log(sum))
	}
	return loss
}

func logs(y []float64) []float64 {
	z := make([]float64, len(y))
	for i, v := range y {
		z[i] = math.Log(v)
	}
	return z
}

func meanOver(z, y []float64, f func(z, y float64) float64) float64 {
	sum := 0.0
	for i := range z {
		sum += f(z[i], y[i])
	}
	return sum / float64(len(z))
}
