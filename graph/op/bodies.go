package op

// bodies are the bodies of operators that depend on the call, by name. They
// give gradients to operators whose other rules stand in their families.
var bodies = map[opName]func(*Call) (string, error){
	std("RNN"):       bodyRNN,
	std("LSTM"):      bodyLSTM,
	std("GRU"):       bodyGRU,
	std("Attention"): bodyAttention,
}
