"""Operations: arrays in, arrays out; tiles, blending, run-length code, resampling, border weights."""
