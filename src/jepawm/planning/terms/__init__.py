"""Terms that objectives are composed of, one idea a file; `composition` adds them up."""
