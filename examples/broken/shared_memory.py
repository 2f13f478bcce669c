# torchkit snoop examples/broken/shared_memory.py
# before it is run: torchkit shm-check examples/broken/shared_memory.py:loader
#
# It fails where /dev/shm has the 64 MiB that a container gets. Where it has more, give it one:
# unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=64m shm /dev/shm && COMMAND'
import shutil

import torch
from torch.utils.data import DataLoader, Dataset

MIB = 1024**2


class Images(Dataset):
    def __len__(self):
        return 512

    def __getitem__(self, index):
        return torch.zeros(3, 224, 224)


loader = DataLoader(Images(), batch_size=64, num_workers=2)  # 37 MiB a batch, four are made ahead

if __name__ == "__main__":
    if shutil.disk_usage("/dev/shm").total > 64 * MIB:
        raise SystemExit("/dev/shm has more than 64 MiB here, which are left alone")
    for images in loader:
        images.mean()
