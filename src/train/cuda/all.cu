// Every kernel, as one module.
#include "integer.cu"
#include "optimizer.cu"
#include "train.cu"
