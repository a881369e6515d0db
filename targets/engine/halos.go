package engine

// The methods of imageMachine. Only a convolution that is computed as a
// matrix product reads a halo.

func (c *conv) border(i int) halo {
	if i != 0 {
		return halo{}
	}
	b := c.window.border()
	if c.tiled != nil {
		b.bottom += winogradSlack
		b.right += winogradSlack
	}
	return b
}

func (c *conv) place(ins []halo, out halo) {
	c.in, c.out = ins[0], out
	if len(ins) > 1 {
		c.res = ins[1]
	}
}

func (d *depthwise) border(int) halo            { return halo{} }
func (d *depthwise) place(ins []halo, out halo) { d.in, d.out = ins[0], out }

func (p *pool) border(int) halo            { return halo{} }
func (p *pool) place(ins []halo, out halo) { p.in, p.out = ins[0], out }

func (p *globalPool) border(int) halo            { return halo{} }
func (p *globalPool) place(ins []halo, out halo) { p.in, p.out = ins[0], out }

func (u *unaryImage) border(int) halo            { return halo{} }
func (u *unaryImage) place(ins []halo, out halo) { u.in, u.out = ins[0], out }

func (m *binaryImage) border(int) halo   { return halo{} }
func (m *binaryImage) fuse(a activation) { m.act = a }
func (m *binaryImage) place(ins []halo, out halo) {
	m.a, m.b, m.out = ins[0], ins[1], out
	if m.adds {
		m.c = ins[2]
	}
}

func (s *scaleImage) border(int) halo            { return halo{} }
func (s *scaleImage) place(ins []halo, out halo) { s.in, s.out = ins[0], out }
func (s *scaleImage) fuse(a activation)          { s.act = a }

func (c *concatImage) border(int) halo            { return halo{} }
func (c *concatImage) place(ins []halo, out halo) { c.halos, c.out = ins, out }

func (c *toImage) border(int) halo          { return halo{} }
func (c *toImage) place(_ []halo, out halo) { c.out = out }

func (c *fromImage) border(int) halo          { return halo{} }
func (c *fromImage) place(ins []halo, _ halo) { c.in = ins[0] }

func (c *qconv) border(int) halo            { return c.window.border() }
func (c *qconv) place(ins []halo, out halo) { c.in, c.out = ins[0], out }

func (d *qdepthwise) border(int) halo            { return d.window.border() }
func (d *qdepthwise) place(ins []halo, out halo) { d.in, d.out = ins[0], out }

func (d *dequantizeImage) border(int) halo            { return halo{} }
func (d *dequantizeImage) place(ins []halo, out halo) { d.in, d.out = ins[0], out }

func (d *quantizeImage) border(int) halo            { return halo{} }
func (d *quantizeImage) place(ins []halo, out halo) { d.in, d.out = ins[0], out }

func (m *qbinary) border(int) halo { return halo{} }
func (m *qbinary) place(ins []halo, out halo) {
	m.a.halo, m.b.halo, m.out = ins[0], ins[1], out
}

func (t *tableImage) border(int) halo            { return halo{} }
func (t *tableImage) place(ins []halo, out halo) { t.in, t.out = ins[0], out }

func (p *qmaxPool) border(int) halo            { return halo{} }
func (p *qmaxPool) place(ins []halo, out halo) { p.in, p.out = ins[0], out }

func (p *qglobalPool) border(int) halo            { return halo{} }
func (p *qglobalPool) place(ins []halo, out halo) { p.in, p.out = ins[0], out }

func (r *resizeImage) border(int) halo            { return halo{} }
func (r *resizeImage) place(ins []halo, out halo) { r.in, r.out = ins[0], out }
