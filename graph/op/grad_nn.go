package op

// gradNNRules are the gradients of convolutions, pools and normalizations.
var gradNNRules = map[opName]func(*Grad) error{}
