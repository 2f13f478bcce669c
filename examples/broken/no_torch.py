# torchkit snoop examples/broken/no_torch.py
settings = {"epochs": 3}


def rate(settings):
    return settings["learning_rate"]


rate(settings)
