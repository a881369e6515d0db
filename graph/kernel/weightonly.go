package kernel

// Quantized is a matrix of weights of 4 or 8 bits, quantized in blocks along
// its rows: w(i,k) = (q(i,k) - Zero[b]) * Scale[b], where b is
// i*blocks + k/Block and blocks is the number of blocks in a row.
//
// Of 4-bit weights, byte j of a row holds weight 2j in its low half and 2j+1 in
// its high half, from 0 to 15. 8-bit weights are int8 given as bytes. K is a
// multiple of Block and Block of 16; a shorter row is padded by its maker with
// weights that meet zeros in x.
type Quantized struct {
	Q []uint8
	// Scale has one value per block.
	Scale []float32
	// Zero has one value per block; nil stands for 8 in all blocks of 4-bit
	// weights and 0 in all of 8-bit weights.
	Zero     []float32
	K, Block int
}

func (w *Quantized) zero(b int, otherwise float32) float32 {
	if w.Zero == nil {
		return otherwise
	}
	return w.Zero[b]
}

// dequantize returns block b of the matrix through at, which reads weight k of
// the whole matrix.
func (w *Quantized) dequantize(dst []float32, b int, otherwise float32, at func(i int) float32) {
	for i := range w.Block {
		dst[i] = (at(b*w.Block+i) - w.zero(b, otherwise)) * w.Scale[b]
	}
}

func (w *Quantized) q4(i int) float32 { return float32(w.Q[i/2] >> (i % 2 * 4) & 15) }
func (w *Quantized) q8(i int) float32 { return float32(int8(w.Q[i])) }

func dequantQ4(dst []float32, w *Quantized, row int) { dequantRow(dst, w, row, 8, w.q4) }
func dequantQ8(dst []float32, w *Quantized, row int) { dequantRow(dst, w, row, 0, w.q8) }

func dequantRow(dst []float32, w *Quantized, row int, zero float32, at func(i int) float32) {
	blocks := w.K / w.Block
	for b := range blocks {
		w.dequantize(dst[b*w.Block:], row*blocks+b, zero, at)
	}
}

func gemvQ4(dst, x []float32, w *Quantized, row int) { gemvQuantized(dst, x, w, row, 8, w.q4) }
func gemvQ8(dst, x []float32, w *Quantized, row int) { gemvQuantized(dst, x, w, row, 0, w.q8) }

func gemvQuantized(dst, x []float32, w *Quantized, row int, zero float32, at func(i int) float32) {
	blocks := w.K / w.Block
	for i := range dst {
		total := 0.0
		for b := range blocks {
			block, partial := (row+i)*blocks+b, 0.0
			for k := range w.Block {
				partial += float64(at(block*w.Block+k)-w.zero(block, zero)) * float64(x[b*w.Block+k])
			}
			total += partial * float64(w.Scale[block])
		}
		dst[i] = float32(total)
	}
}
