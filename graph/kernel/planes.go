package kernel

// DepthwisePlanes is a depthwise convolution with windows of 3x3 over channels
// that lie in planes: element (y, x) of channel c is In[c*LDI+y*LDR+x]. It
// computes OH x OW windows for each of C channels,
//
//	v = sum over ky, kx < 3 of
//	    In[c*LDI + (oy*Stride-Top+ky)*LDR + ox*Stride-Left+kx] * Weights[c*9+ky*3+kx]
//	Out[c*LDO+oy*OW+ox] = clamp(v + Bias[c], Lo, Hi)
//
// of which what lies outside of the plane is left out. Stride is 1 or 2. Bias
// may be nil. Top and Left are from 0 to 2, and every window's first element
// lies before the end of its plane.
type DepthwisePlanes struct {
	In, Weights, Bias, Out []float32
	C, H, W, OH, OW        int
	Stride, Top, Left      int
	LDI, LDR, LDO          int
	Lo, Hi                 float32
}

func depthwisePlanes(d *DepthwisePlanes) {
	for c := range d.C {
		in, w := d.In[c*d.LDI:], d.Weights[9*c:9*c+9]
		out := d.Out[c*d.LDO:]
		for oy := range d.OH {
			for ox := range d.OW {
				v := d.window(in, w, oy*d.Stride-d.Top, ox*d.Stride-d.Left)
				if d.Bias != nil {
					v += d.Bias[c]
				}
				out[oy*d.OW+ox] = clamp(v, d.Lo, d.Hi)
			}
		}
	}
}

// window is the sum over the window whose first element is (y, x).
func (d *DepthwisePlanes) window(in, w []float32, y, x int) float32 {
	v := float32(0)
	for ky := max(0, -y); ky < min(3, d.H-y); ky++ {
		row := in[(y+ky)*d.LDR:]
		for kx := max(0, -x); kx < min(3, d.W-x); kx++ {
			v = fma32(row[x+kx], w[3*ky+kx], v)
		}
	}
	return v
}
