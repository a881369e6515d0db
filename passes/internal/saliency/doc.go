// Package saliency measures how much single weights, and the weights of whole
// nodes, contribute to what a model computes.
//
// It is on floor 4. It refuses to know which weights are to go, and what
// becomes of them: that is the business of the passes that prune.
//
// A weight is seen as one or more matrices with a row for each output and a
// column for each input that the output adds up ([Matrix]). Scores ([Magnitude],
// [Wanda], [OBS] and so on) have the layout of the weight; a lower score says
// that the loss rises less when the weight goes. What the inputs of a node look
// like is gathered from calibration samples, one after the other ([Inputs],
// [Moments]). What the loss does when a node loses a share of its weights is
// measured by running the rest of the graph ([Scan]).
package saliency
