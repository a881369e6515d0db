package op

import "github.com/onnxpack/onnxpack/graph"

// gradImageRules are the gradients of resampling.
var gradImageRules = map[opName]func(*Grad) error{
	std("Resize"): func(g *Grad) error {
		in := []*graph.Value{g.In[0], nil, nil, nil, g.DOut[0]}
		for i := 1; i < len(g.In); i++ {
			in[i] = g.In[i]
		}
		g.Set(0, g.Private("ResizeGrad", g.attrs(), in...))
		return nil
	},
}
