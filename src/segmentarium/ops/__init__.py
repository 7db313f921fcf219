"""Operations: arrays in, arrays out; tiles and their blending, run-length code, resampling, border weights."""
