// Every kernel, as one module.
#include "optimizer.cu"
#include "train.cu"
#include "visual.cu"
