// Package train fits the weights of a model to a loss: optimizers, schedules,
// batches, augmentation, validation, checkpoints.
//
// It is on floor 4. It refuses to know which pass asks and what for: recovery
// after pruning or merging, distillation and quantization-aware training all
// come with a [Task], that is a model, the terms of a loss and samples.
//
// The model is brought to a training form, a private copy:
//
//   - float weights become inputs, so that one compiled session serves all
//     steps and weights are updated in place;
//   - BatchNormalization takes the statistics of the batch, or stays frozen;
//   - Dropout is left out, or becomes a product with a mask that is fed;
//   - weights stored in small integers become floats that are rounded to the
//     grid of their scales on the way in (straight-through estimate);
//   - the terms of the loss are appended as ONNX nodes, and graph/grad appends
//     the gradients.
//
// What is returned is the model that was given, with other contents of its
// initializers: nodes, names and opset stay.
//
// Everything random follows from the seed and the number of the step, and
// sums are taken in an order that does not depend on the number of threads:
// the same task gives the same bytes, whether or not it was interrupted and
// resumed.
package train
