// Every kernel, as one module.
#include "exact.cu"
#include "integer.cu"
#include "optimizer.cu"
#include "train.cu"
