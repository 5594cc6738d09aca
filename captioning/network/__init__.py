"""The network, and the file that holds a trained one."""
