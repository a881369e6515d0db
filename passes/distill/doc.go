// Package distill holds passes that train: on labels, or to imitate a larger
// model.
//
// Floor 5. How training goes is passes/internal/train's; what a model is
// trained towards, and how a student is made from its teacher, stands here.
package distill
