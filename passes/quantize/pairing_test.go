package quantize

import (
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph"
	"github.com/onnxpack/onnxpack/graph/tensor"
)

func convNode(t *testing.T) *graph.Node {
	t.Helper()
	m, err := graph.ParseModel(`<ir_version: 9, opset_import: ["": 17]>
g (float[1,6,5,5] x, float[8,6,3,3] w) => (float[1,8,3,3] y) { y = Conv (x, w) }`)
	if err != nil {
		t.Fatal(err)
	}
	return m.Graph.First()
}

func TestPairings(t *testing.T) {
	orders := pairings(convNode(t), tensor.New(tensor.Float32, tensor.Shape{2, 2, 1, 2}))
	if got := orders[0](1); !slices.Equal(got, []int{4, 5, 6, 7}) {
		t.Errorf("as stored: %v", got)
	}
	if got := orders[1](1); !slices.Equal(got, []int{4, 6, 5, 7}) {
		t.Errorf("channels last: %v", got)
	}
}

func TestChannelMeans(t *testing.T) {
	m := &channelMeans{}
	m.add(tensor.Of(tensor.Shape{2, 2, 2}, []float32{1, 2, 10, 20, 3, 4, 30, 40}), 1)
	m.add(tensor.Of(tensor.Shape{1, 2, 1}, []float32{5, 50}), 1)
	if m.mean(0) != 3 || m.mean(1) != 30 {
		t.Errorf("means are %v and %v, want 3 and 30", m.mean(0), m.mean(1))
	}
}
