// Every kernel, as one module.
#include "exact.cu"
#include "optimizer.cu"
#include "train.cu"
