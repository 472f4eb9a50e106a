import sys

from spatial_mamba_client.cli import main

sys.exit(main())
