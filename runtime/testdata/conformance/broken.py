raise ValueError("cannot begin")
