package grad_test

// operatorModels are calls of operators that neither other tables nor a
// generated call show: each float input has a gradient, or it is stated why
// not. Models of operators that calculate in float32 take floats.
var operatorModels = map[string]string{
	"mod":       `g (double[2,3] x, double[3] y) => (double[2,3] z) { z = Mod <fmod = 1> (x, y) }`,
	"range":     `g (double s, double l, double d) => (double[N] y) <double three = {3}> { e = Add (l, three) y = Range (s, e, d) }`,
	"one hot":   `g (double[2] v) => (double[3,4] y) <int64[3] i = {0,3,2}, int64 d = {4}> { y = OneHot (i, d, v) }`,
	"compress":  `g (double[3,2] x) => (double[N,2] y) <bool[3] c = {1,0,1}> { y = Compress <axis = 0> (x, c) }`,
	"unique":    `g (double[5] x) => (double[N] y) <int64[6] i = {0,1,2,1,4,0}> { z = Gather (x, i) y = Unique (z) }`,
	"rows":      `g (double[4,2] x) => (double[N,2] y) <int64[5] i = {3,1,2,1,0}> { z = Gather (x, i) y = Unique <axis = 0, sorted = 0> (z) }`,
	"reversed":  `g (double[3,2] x) => (double[3,2] y) <int64[2] n = {2,3}> { y = ReverseSequence (x, n) }`,
	"to depth":  `g (double[1,2,4,2] x) => (double[1,8,2,1] y) { y = SpaceToDepth <blocksize = 2> (x) }`,
	"to space":  `g (double[1,8,2,1] x) => (double[1,2,4,2] y) { y = DepthToSpace <blocksize = 2, mode = "CRD"> (x) }`,
	"crop":      `g (double[3,4] x) => (double[5,2] y) <int64[2] s = {5,2}> { y = CenterCropPad (x, s) }`,
	"cache":     `g (double[1,4,2] x, double[1,2,2] u) => (double[1,4,2] y) <int64[1] i = {1}> { y = TensorScatter (x, u, i) }`,
	"expand":    `g (double[3,1] x) => (double[2,3,4] y) <int64[3] s = {2,3,4}> { y = Expand (x, s) }`,
	"squeeze":   `g (double[1,3] x) => (double[3] y) <int64[1] a = {0}, int64[1] m = {-1}> { s = Squeeze (x, a) u = Unsqueeze (s, a) y = Reshape (u, m) }`,
	"cast":      `g (double[3] x, float[3] z) => (double[3] y) { c = Cast <to = 11> (z) d = CastLike (c, x) y = Mul (x, d) }`,
	"optional":  `g (double[3] x) => (double[3] y) { o = Optional (x) y = OptionalGetElement (o) }`,
	"gather nd": `g (double[3,4] x) => (double[2] y) <int64[2,2] j = {2,0,1,1}> { y = GatherND (x, j) }`,
	"unpool": `g (double[1,1,2,2] x) => (double[1,1,5,5] y) <int64[1,1,2,2] i = {5,7,13,15}, int64[4] s = {1,1,5,5}> {
		y = MaxUnpool <kernel_shape = [2,2], strides = [2,2]> (x, i, s)
	}`,
	"roi pool": `g (double[1,2,6,6] x) => (double[2,2,2,2] y) <double[2,5] r = {0,0,0,3,4, 0,2,1,5,5}> {
		y = MaxRoiPool <pooled_shape = [2,2]> (x, r)
	}`,
	"roi align": `g (double[2,2,6,6] x) => (double[2,2,2,3] y) <double[2,4] r = {0.5,0.7,3.2,4.1, 2,1,5,5.5}, int64[2] b = {1,0}> {
		y = RoiAlign <output_height = 2, output_width = 3, sampling_ratio = 2> (x, r, b)
	}`,
	"roi align max": `g (double[1,2,6,6] x) => (double[1,2,2,2] y) <double[1,4] r = {0.5,0.7,3.2,4.1}, int64[1] b = {0}> {
		y = RoiAlign <output_height = 2, output_width = 2, mode = "max"> (x, r, b)
	}`,
	"grid reflected": `g (double[2,2,4,5] x, double[2,3,2,2] z) => (double[2,2,3,2] y) <double three = {3}> {
		w = Mul (z, three) y = GridSample <mode = "cubic", padding_mode = "reflection"> (x, w)
	}`,
	"grid border": `g (double[1,2,4,5] x, double[1,3,2,2] z) => (double[1,2,3,2] y) <double three = {3}> {
		w = Mul (z, three) y = GridSample <mode = "linear", padding_mode = "border", align_corners = 1> (x, w)
	}`,
	"det":         `g (double[2,3,3] x) => (double[2] y) { y = Det (x) }`,
	"dft real":    `g (double[2,5,1] x) => (double[2,3,2] y) <int64 n = {4}, int64 a = {1}> { y = DFT <onesided = 1> (x, n, a) }`,
	"dft inverse": `g (double[2,3,2] x) => (double[2,5,1] y) <int64 n = {5}> { y = DFT <onesided = 1, inverse = 1> (x, n) }`,
	"dft complex": `g (double[2,5,2] x) => (double[2,5,2] y) { y = DFT <inverse = 1> (x) }`,
	"stft":        `g (double[1,8] x, double[4] w) => (double[1,3,3,2] y) <int64 s = {2}> { y = STFT (x, s, w) }`,
	"mel":         `g (float l, float h) => (float[9,3] y) <int64 n = {3}, int64 d = {16}, int64 r = {8000}> { y = MelWeightMatrix (n, d, r, l, h) }`,
	"deform": `g (double[2,4,4,4] x, double[4,2,2,2] w, double[2,16,3,3] o, double[4] b, double[2,8,3,3] m) => (double[2,4,3,3] y) {
		y = DeformConv <group = 2, offset_group = 2> (x, w, o, b, m)
	}`,
	"if": `g (double[2] x, double[2] z, double c) => (double[2] y) <double half = {0.5}> {
		t = Greater (c, half)
		y = If (t) <then_branch = a () => (double[2] p) { p = Mul (x, z) }, else_branch = b () => (double[2] q) { r = Exp (x) q = Mul (r, c) }>
	}`,
	"loop": `g (double[2] x, double[2] k) => (double[2] y, double[4,2] s) <int64 n = {4}, bool t = {1}, double[2] one = {1,1}> {
		y, w, s = Loop (n, t, x, one) <body = b (int64 i, bool c, double[2] a, double[2] e) => (bool d, double[2] f, double[2] h, double[2] u) {
			d = Identity (c) f = Mul (a, k) g2 = Add (e, a) h = Sin (g2) u = Mul (f, h) }>
	}`,
	"nested loops": `g (double[2] x) => (double[2] y) <int64 n = {3}, bool t = {1}> {
		y = Loop (n, t, x) <body = b (int64 i, bool c, double[2] a) => (bool d, double[2] f) {
			d = Identity (c)
			e = Loop (n, c, a) <body = b2 (int64 i2, bool c2, double[2] a2) => (bool d2, double[2] f2) { d2 = Identity (c2) g2 = Mul (a2, x) f2 = Sin (g2) }>
			f = Add (e, a) }>
	}`,
	"scan": `g (double[2] h, double[2,5] x, double[2,2] w) => (double[2] l, double[5,2] y) {
		l, y = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_input_directions = [1], scan_output_directions = [1],
			body = b (double[2] s, double[2] z) => (double[2] o, double[2] e) { m = MatMul (w, s) n = Add (m, z) o = Tanh (n) e = Mul (o, z) }> (h, x)
	}`,
	"swiglu": `g (double[2,3] x, double[2,3] z) => (double[2,3] y) { y = SwiGLU (x, z) }`,
	"linear attention": `g (float[1,3,4] q, float[1,3,2] k, float[1,3,3] v, float[1,3,1] d, float[1,3,1] r) => (float[1,3,6] y, float[1,1,2,3] s) {
		y, s = LinearAttention <q_num_heads = 2, kv_num_heads = 1> (q, k, v, , d, r)
	}`,
	"causal convolution": `g (float[1,2,5] x, float[2,1,3] w, float[2] b, float[1,2,2] p) => (float[1,2,5] y, float[1,2,2] s) {
		y, s = CausalConvWithState <activation = "silu"> (x, w, b, p)
	}`,
	"rotary": `g (float[1,2,3,4] x) => (float[1,2,3,4] y) <float[3,2] c = {1,0.5,0.3,0.2,0.9,0.8}, float[3,2] s = {0,0.2,0.4,0.6,0.8,0.1}, int64[1,3] i = {0,2,1}> {
		y = RotaryEmbedding (x, c, s, i)
	}`,
	"dynamic quantization": `g (float[3] x) => (float s) <float[3] k = {3,-2,0.5}, float h = {100}> { z = Mul (x, k) q, t, p = DynamicQuantizeLinear (z) s = Mul (t, h) }`,
	"simplified norm":      `g (double[2,3] x, double[3] s) => (double[2,3] y, double[2,1] r) { y, r = SimplifiedLayerNormalization (x, s) }`,
	"recurrent activations": `g (double[3,2,3] x, double[1,8,3] w, double[1,8,2] r) => (double[3,1,2,2] y) {
		y = LSTM <hidden_size = 2, activations = ["HardSigmoid", "ScaledTanh", "Elu"], activation_alpha = [0.3, 1.5, 0.7], activation_beta = [0.4, 0.6]> (x, w, r)
	}`,
	"batch norm statistics": `g (double[3,2,2] x, double[2] s, double[2] b, double[2] m, double[2] v) => (double[3,2,2] y, double[2] rm, double[2] rv) {
		y, rm, rv = BatchNormalization <training_mode = 1, momentum = 0.7> (x, s, b, m, v)
	}`,
	"random":       `g (double[3] x) => (double[3] y) { z = RandomNormalLike <seed = 1.0> (x) y = Identity (z) }`,
	"loss weights": `g (double[4,3] x, double[3] w) => (double l) <int64[4] t = {0,1,2,2}> { l = SoftmaxCrossEntropyLoss <ignore_index = 1> (x, t, w) }`,
}

// privateModels are calls of operators that only training has.
var privateModels = map[string]string{
	"ctc": `g (double[3,5,4] x) => (double[3] l) <int64[3,3] t = {1,1,-1, 2,1,3, 0,-1,-1}> {
		p = LogSoftmax (x) l = onnxpack.CTCLoss (p, t)
	}`,
	"ctc with a last blank": `g (float[2,4,3] x, float[2] k) => (float[2] y) <int64[2,2] t = {0,1, 1,1}> {
		p = LogSoftmax (x) l = onnxpack.CTCLoss <blank = 2> (p, t) y = Mul (l, k)
	}`,
}

// microsoftModels are calls of operators of com.microsoft.
var microsoftModels = map[string]string{
	"FusedConv": `g (float[1,2,4,4] x, float[3,2,3,3] w, float[3] b, float[1,3,4,4] z) => (float[1,3,4,4] y) {
		y = com.microsoft.FusedConv <pads = [1,1,1,1], activation = "LeakyRelu", activation_params = [0.2]> (x, w, b, z)
	}`,
	"NhwcConv":  `g (float[1,4,4,2] x, float[3,3,3,2] w, float[3] b) => (float[1,2,2,3] y) { y = com.microsoft.NhwcConv (x, w, b) }`,
	"FusedGemm": `g (float[2,3] x, float[4,3] w, float[4] b) => (float[2,4] y) { y = com.microsoft.FusedGemm <transB = 1, alpha = 0.5, activation = "Tanh"> (x, w, b) }`,
	"FusedMatMul": `g (float[2,3,4] x, float[2,3,5] w) => (float[2,4,5] y) {
		y = com.microsoft.FusedMatMul <transA = 1, alpha = 0.5> (x, w)
	}`,
	"TransposeMatMul": `g (float[3,4] x, float[3,5] w) => (float[4,5] y) { y = com.microsoft.TransposeMatMul <transA = 1> (x, w) }`,
	"BiasGelu":        `g (float[2,3] x, float[3] b) => (float[2,3] y) { y = com.microsoft.BiasGelu (x, b) }`,
	"FastGelu":        `g (float[2,3] x, float[3] b) => (float[2,3] y) { y = com.microsoft.FastGelu (x, b) }`,
	"SkipLayerNormalization": `g (float[2,2,4] x, float[2,2,4] s, float[4] g2, float[4] t, float[4] b) => (float[2,2,4] y, float[2,2,4] z) {
		y, , , z = com.microsoft.SkipLayerNormalization (x, s, g2, t, b)
	}`,
	"SkipSimplifiedLayerNormalization": `g (float[2,2,4] x, float[1,2,4] s, float[4] g2, float[4] b) => (float[2,2,4] y) {
		y = com.microsoft.SkipSimplifiedLayerNormalization (x, s, g2, b)
	}`,
	"EmbedLayerNormalization": `g (float[5,4] w, float[3,4] p, float[2,4] e, float[4] g2, float[4] t) => (float[2,3,4] y)
		<int32[2,3] a = {0,1,2,2,4,1}, int32[2,3] s = {0,1,1,0,0,1}> {
		y, l = com.microsoft.EmbedLayerNormalization <epsilon = 1e-3> (a, s, w, p, e, g2, t)
	}`,
	"Attention": `g (float[2,3,4] x, float[4,12] w, float[12] b, float[2,2,1,3,3] t) => (float[2,3,4] y) <int32[2] m = {3,2}, int64[1] two = {2}> {
		a = Squeeze (t, two) y = com.microsoft.Attention <num_heads = 2, unidirectional = 1> (x, w, b, m, , a)
	}`,
	"Attention with a past": `g (float[1,2,4] x, float[4,12] w, float[12] b, float[2,1,2,3,2] p) => (float[1,2,4] y, float[2,1,2,5,2] z) <int32[1,5] m = {1,1,0,1,1}> {
		y, z = com.microsoft.Attention <num_heads = 2> (x, w, b, m, p)
	}`,
	"MultiHeadAttention": `g (float[2,3,4] q, float[2,5,4] k, float[2,5,4] v, float[12] b, float[2,2,3,5] t) => (float[2,3,4] y) <int32[2,5] m = {1,1,1,1,0,1,1,1,0,0}> {
		y = com.microsoft.MultiHeadAttention <num_heads = 2> (q, k, v, b, m, t)
	}`,
	"MultiHeadAttention packed": `g (float[2,3,2,3,2] q, float[2,2,4,2] p, float[2,2,4,2] r) => (float[2,3,4] y, float[2,2,7,2] k, float[2,2,7,2] v) {
		y, k, v = com.microsoft.MultiHeadAttention <num_heads = 2, unidirectional = 1> (q, , , , , , p, r)
	}`,
	"GroupQueryAttention": `g (float[2,3,8] q, float[2,3,4] k, float[2,3,4] v) => (float[2,3,8] y, float[2,2,3,2] k2, float[2,2,3,2] v2)
		<int32[2] l = {2,2}, int32 n = {3}, float[4,1] c = {1,0.5,0.3,0.2}, float[4,1] s = {0,0.2,0.4,0.6}> {
		y, k2, v2 = com.microsoft.GroupQueryAttention <num_heads = 4, kv_num_heads = 2, do_rotary = 1, softcap = 3.0, local_window_size = 2> (q, k, v, , , l, n, c, s)
	}`,
	"GroupQueryAttention packed": `g (float[1,3,8] q, float[2] h) => (float[1,3,4] y) <int32[1] l = {2}, int32 n = {3}> {
		y, k2, v2 = com.microsoft.GroupQueryAttention <num_heads = 2, kv_num_heads = 1> (q, , , , , l, n, , , , , h)
	}`,
	"RotaryEmbedding": `g (float[1,3,8] x) => (float[1,3,8] y) <int64[1] i = {1}, float[4,2] c = {1,0.5,0.3,0.2,0.9,0.8,0.1,0.4}, float[4,2] s = {0,0.2,0.4,0.6,0.8,0.1,0.3,0.9}> {
		y = com.microsoft.RotaryEmbedding <num_heads = 2, interleaved = 1> (x, i, c, s)
	}`,
	"CDist":            `g (double[2,3] x, double[4,3] z) => (double[2,4] y) { y = com.microsoft.CDist <metric = "euclidean"> (x, z) }`,
	"ExpandDims":       `g (double[2,3] x) => (double[2,1,3] y) <int32 a = {1}> { y = com.microsoft.ExpandDims (x, a) }`,
	"GatherND":         `g (double[3,4] x) => (double[2] y) <int64[2,2] j = {2,0,1,1}> { y = com.microsoft.GatherND (x, j) }`,
	"Inverse":          `g (double[2,3,3] x) => (double[2,3,3] y) { y = com.microsoft.Inverse (x) }`,
	"NGramRepeatBlock": `g (float[1,4] x) => (float[1,4] y) <int64[1,3] i = {0,1,0}> { z = com.microsoft.NGramRepeatBlock <ngram_size = 3> (i, x) y = Exp (z) }`,
	"Pad":              `g (double[2,3] x, double[1] v) => (double[3,5] y) <int64[4] p = {1,0,0,2}> { y = com.microsoft.Pad (x, p, v) }`,
	"Range":            `g (double s, double d) => (double[N] y) <double l = {5}> { y = com.microsoft.Range (s, l, d) }`,
	"SparseToDenseMatMul": `g (sparse_tensor(float[3,4]) a, float[5,4] x) => (float[3,5] y) {
		y = com.microsoft.SparseToDenseMatMul <alpha = 0.5, transB = 1> (a, x)
	}`,
	"Trilu":        `g (double[3,3] x) => (double[3,3] y) { y = com.microsoft.Trilu (x) }`,
	"UnfoldTensor": `g (double[2,5] x) => (double[2,2,3] y) { y = com.microsoft.UnfoldTensor <dim = 1, size = 3, step = 2> (x) }`,
	"Unique":       `g (double[4] x) => (double[N] y) <int64[5] i = {3,1,2,1,0}> { z = Gather (x, i) y, j, c = com.microsoft.Unique (z) }`,
	"MatMulNBits": `g (float[2,16] x, float[3] b) => (float[2,3] y) <uint8[3,1,8] w = {1,2,3,4,5,6,7,8,17,18,33,34,51,52,68,85,9,8,7,6,5,4,3,2}, float[3] s = {0.5,0.25,1}> {
		y = com.microsoft.MatMulNBits <K = 16, N = 3, bits = 4, block_size = 16> (x, w, s, , , b)
	}`,
	"DequantizeLinear":             `g (float s) => (float[4] y) <int8[4] x = {1,-2,3,100}, int8 z = {3}> { y = com.microsoft.DequantizeLinear (x, s, z) }`,
	"SimplifiedLayerNormalization": `g (float[2,3] x, float[3] s) => (float[2,3] y) { y = com.microsoft.SimplifiedLayerNormalization (x, s) }`,
}

const (
	newest          = `<ir_version: 10, opset_import: ["": 28]> `
	newestPrivate   = `<ir_version: 10, opset_import: ["": 23, "onnxpack": 1]> `
	newestMicrosoft = `<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]> `
)
