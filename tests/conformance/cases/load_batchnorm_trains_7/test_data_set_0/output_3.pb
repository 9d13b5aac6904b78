B
saved_meanJgCL>R8E=šà\½