def is_tensorflow(path):
    return False
