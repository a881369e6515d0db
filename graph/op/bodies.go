package op

// bodies are the bodies of operators that depend on the call, by name. They
// give gradients to operators whose other rules stand in their families.
var bodies = map[opName]func(*Call) (string, error){
	std("RNN"):                 bodyRNN,
	std("LSTM"):                bodyLSTM,
	std("GRU"):                 bodyGRU,
	std("LinearAttention"):     bodyLinearAttention,
	std("CausalConvWithState"): bodyCausalConv,
	std("Attention"):           bodyAttention,
	std("STFT"):                bodySTFT,

	{microsoft, "FusedConv"}:                        bodyFusedConv,
	{microsoft, "NhwcConv"}:                         bodyNhwcConv,
	{microsoft, "FusedGemm"}:                        bodyFusedGemm,
	{microsoft, "FusedMatMul"}:                      bodyFusedMatMul,
	{microsoft, "TransposeMatMul"}:                  bodyFusedMatMul,
	{microsoft, "BiasGelu"}:                         bodyGelu,
	{microsoft, "FastGelu"}:                         bodyGelu,
	{microsoft, "QuickGelu"}:                        bodyQuickGelu,
	{microsoft, "SkipLayerNormalization"}:           bodySkipNorm,
	{microsoft, "SkipSimplifiedLayerNormalization"}: bodySkipNorm,
	{microsoft, "EmbedLayerNormalization"}:          bodyEmbedNorm,
	{microsoft, "CDist"}:                            bodyCDist,
	{microsoft, "Attention"}:                        bodyMSAttention,
	{microsoft, "MultiHeadAttention"}:               bodyMultiHead,
	{microsoft, "GroupQueryAttention"}:              bodyGroupQuery,
}
